# SPDX-License-Identifier: Apache-2.0
"""What is wrong with data, by the content of its files."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .files import FileFacts
from .problem import Problem

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["check_image", "check_mask", "check_overlap", "check_split"]

# Modes that anomalib's reader, which converts to 8-bit RGB, clips instead of scaling.
_CLIPPED_MODES = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
# How pixels of a mask are read, for messages.
_AS_READ = ", as masks are read: a pixel counts if it is above 0 when converted to grey, whatever its alpha"
_GREY_MODES = {"1", "L"}
# Below this standard deviation of grey values, of 255, an image has no content.
_NO_CONTENT = 1.0
# With fewer normal images no threshold has a false-alarm rate of at most 5 %.
_FEW_NORMAL = 19
# The post-processor's default rate.
_DEFAULT_RATE = 0.01


def check_image(path: str, facts: FileFacts) -> list[Problem]:
    """Check that an image can be read with all its information.

    Returns:
        An error for a file that is missing, empty, damaged or deeper than 8 bits a channel; notes on what the file
        holds and no reader uses, or others may use in another way; nothing otherwise.
    """
    if facts.error is not None:
        return [Problem(path, facts.error)]
    if facts.mode in _CLIPPED_MODES:
        message = (
            f"the image has mode {facts.mode}, more than 8 bits a channel, and would be clipped to white when read; "
            "convert it to 8 bits."
        )
        return [Problem(path, message)]
    notes = []
    if facts.mode in {"P", "PA"}:
        notes.append("the image has a palette; its colours are used.")
    elif facts.mode in {"RGBA", "LA", "La", "RGBa"}:
        notes.append("the image has an alpha channel; it is ignored.")
    elif facts.mode not in {"1", "L", "RGB"}:
        notes.append(f"the image has mode {facts.mode}; it is converted to RGB without its colour profile.")
    if facts.deep:
        notes.append("the image has more than 8 bits a channel; the upper 8 are used.")
    if facts.orientation != 1:
        notes.append(
            f"the image is to be turned for display (EXIF orientation {facts.orientation}); it is read as it is "
            "stored, and its mask must have the same orientation."
        )
    if facts.frames > 1:
        notes.append(f"the file holds {facts.frames} images; the first is used.")
    if facts.contrast is not None and facts.contrast < _NO_CONTENT:
        notes.append(
            "the image has no content: all its pixels have nearly the same value, as where nothing was in front of the "
            "camera or the light was off."
        )
    return [Problem(path, note, "note") for note in notes]


def check_mask(path: str, facts: FileFacts, image: FileFacts) -> list[Problem]:
    """Check that a defect's mask can be read, marks something and has its image's size.

    Args:
        path: The mask file.
        facts: What it holds.
        image: What the image that it belongs to holds; if that cannot be read, sizes are not compared.

    Returns:
        The errors found; a note for a mask whose compression loses pixels, or that marks all of them.
    """
    if facts.error is not None:
        return [Problem(path, facts.error)]
    problems = []
    if path.lower().endswith((".jpg", ".jpeg")):
        message = "the mask is a JPEG, whose compression smears its border; each pixel above 0 counts as marked."
        problems.append(Problem(path, message, "note"))
    if facts.hidden and facts.marked:
        message = (
            f"the mask has an alpha channel, which is not read: {facts.marked:.3f} of the pixels are read as marked, "
            f"{facts.marked - facts.hidden:.3f} with it. Save the mask without one."
        )
        problems.append(Problem(path, message))
    elif facts.marked == 0:
        message = f"the mask of an anomalous image marks no pixel{_AS_READ if facts.mode not in _GREY_MODES else ''}."
        problems.append(Problem(path, message))
    elif facts.marked == 1:
        message = f"the mask marks every pixel{_AS_READ}; if it is to mark a part, its background must be black."
        problems.append(Problem(path, message, "note"))
    if image.error is None and (image.width, image.height) != (facts.width, facts.height):
        sizes = f"{facts.width} x {facts.height} pixels, its image {image.width} x {image.height}"
        problems.append(Problem(path, f"the mask has {sizes}; both must agree."))
    return problems


def check_split(name: str, samples: "DataFrame", facts: Mapping[str, FileFacts]) -> list[Problem]:
    """Check one split as a whole.

    Args:
        name: ``"train"``, ``"val"`` or ``"test"``.
        samples: anomalib's table of its samples.
        facts: What the files hold, by path.

    Returns:
        An error for a training set without images; notes for a test set without defects or without normal images, for
        few normal images to set a threshold on, and for images of several sizes.
    """
    from anomalib.data.utils import LabelName

    defects = int((samples["label_index"] == LabelName.ABNORMAL).sum())
    good = len(samples) - defects
    problems = []
    if name == "train" and len(samples) == 0:
        problems.append(Problem(name, "there is no training image."))
    if name == "test" and not defects:
        problems.append(Problem(name, "there is no defect, so AUROC, F1 and AUPRO are undefined.", "note"))
    if name == "test" and not good:
        problems.append(Problem(name, "there is no normal image, so AUROC is undefined.", "note"))
    # With defects the thresholds are those at which F1 is best.
    rate, needed = (0.05, _FEW_NORMAL) if defects else (_DEFAULT_RATE, round(1 / _DEFAULT_RATE) - 1)
    where = ""
    if name == "val" and "part" in samples:
        normal = samples.loc[samples["label_index"] != LabelName.ABNORMAL, "part"].value_counts()
        good = min((int(normal.get(part, 0)) for part in set(samples["part"])), default=0)
        fewest = sorted(part for part in set(samples["part"]) if normal.get(part, 0) == good)
        where = f" of {', '.join(fewest)}"
    if name == "val" and 0 < good < needed:
        default = "" if defects else ", the default"
        message = (
            f"there are {good} normal images{where} to set thresholds on: too few for a false-alarm rate of "
            f"{100 * rate:g} %{default}, which needs {needed}; {good} allow for {100 / (good + 1):.2g} %."
        )
        problems.append(Problem(name, message, "note"))
    sizes = Counter((facts[path].width, facts[path].height) for path in samples["image_path"] if not facts[path].error)
    if len(sizes) > 1:
        smallest, largest = min(sizes, key=lambda s: s[0] * s[1]), max(sizes, key=lambda s: s[0] * s[1])
        message = (
            f"images have {len(sizes)} sizes, from {smallest[0]} x {smallest[1]} to {largest[0]} x {largest[1]} pixels."
            " anomalib first brings a batch to the largest size in it, which changes scores; one image is unchanged."
        )
        problems.append(Problem(name, message, "note"))
    return problems


def check_overlap(train: "DataFrame", other: "DataFrame", facts: Mapping[str, FileFacts]) -> list[Problem]:
    """Find images that are trained on and tested on, by their pixels, whatever their names and formats.

    Args:
        train: anomalib's table of the training set.
        other: That of a set that is to be new to the model.
        facts: What the files hold, by path.

    Returns:
        An error for each file of ``other`` that holds the same image as a file of ``train``.
    """
    trained = {facts[path].pixels: path for path in train["image_path"] if facts[path].pixels}
    return [
        Problem(path, f"the image is in the training set, too, as {trained[facts[path].pixels]}.")
        for path in other["image_path"]
        if facts[path].pixels in trained
    ]
