# SPDX-License-Identifier: Apache-2.0
"""Draw a model's result over the image, in the image's own size."""

import math
import os
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rd_plugin.components.roi import OUTLINE
from rd_plugin.results import InspectionResult
from rd_plugin.storage import atomic_file

__all__ = ["PictureFolder", "draw"]

_GREY = (120, 120, 120)
_RED, _GREEN, _WHITE = (200, 0, 0), (0, 120, 0), (255, 255, 255)
# Fractions of an image's shorter side.
_TEXT, _LINE = 1 / 22, 1 / 250
# Of the map where it is highest.
_OPACITY = 0.7


def draw(result: InspectionResult) -> Image.Image:
    """Draw an image with its anomaly map, the boxes of its regions and the outline of the region of interest.

    A bar above it has verdict, score and threshold.

    Returns:
        RGB image of the width of the file, and of its height and the bar's.

    Raises:
        ValueError: If the result has no picture.
    """
    if result.picture is None:
        msg = f"{result.path!r} has no picture."
        raise ValueError(msg)
    drawn = Image.fromarray(result.picture.image)
    side = min(drawn.size)
    if result.picture.anomaly_map is not None:
        strength = (255 * np.clip(result.picture.anomaly_map, 0, 1)).astype(np.uint8)
        heat = Image.fromarray(cv2.applyColorMap(strength, cv2.COLORMAP_JET)[..., ::-1])
        # Pixels far below the threshold are not changed.
        heat.putalpha(Image.fromarray(strength).point(lambda level: max(0, round(_OPACITY * (2 * level - 128)))))
        heat = heat.resize(drawn.size, Image.Resampling.BILINEAR)
        drawn = Image.alpha_composite(drawn.convert("RGBA"), heat).convert("RGB")
    pen = ImageDraw.Draw(drawn)
    for outline in result.picture.outlines:
        corners_of = [(int(x), int(y)) for x, y in outline[:, 0]]
        pen.line([*corners_of, corners_of[0]], fill=OUTLINE, width=max(1, round(side * _LINE)))
    for box in result.boxes:
        corners = (box.x, box.y, box.x + box.width - 1, box.y + box.height - 1)
        pen.rectangle(corners, outline=_GREY if box.ignored else _RED, width=max(1, round(side * _LINE)))
    text = f"{result.verdict}  {result.score:.3f}  (threshold {result.threshold:g})"
    font = ImageFont.load_default(max(8, round(side * _TEXT)))
    # Narrow images get a smaller font.
    if (width := pen.textlength(text, font)) > 0.96 * drawn.width:
        font = ImageFont.load_default(max(6, int(font.size * 0.96 * drawn.width / width)))  # type: ignore[union-attr]
    left, top, _, bottom = pen.textbbox((0, 0), text, font)
    margin = max(1, round((bottom - top) / 3))
    bar = math.ceil(bottom - top) + 2 * margin
    whole = Image.new("RGB", (drawn.width, drawn.height + bar), _RED if result.verdict == "anomalous" else _GREEN)
    ImageDraw.Draw(whole).text((margin - left, margin - top), text, _WHITE, font)
    whole.paste(drawn, (0, bar))
    return whole


class PictureFolder:
    """A folder of drawn images, in the same subfolders as their files.

    Args:
        folder: Where pictures are written; it is made with the first picture.
        source: Folder that the files come from; a file from elsewhere keeps its whole path.
        which: ``"all"`` images with a prediction, or only ``"anomalous"`` ones.
    """

    def __init__(self, folder: Path, source: Path, which: Literal["all", "anomalous"] = "anomalous") -> None:
        self._folder = folder
        self._source = Path(os.path.abspath(source))  # noqa: PTH100  # follows no links
        self._which = which

    def write(self, result: InspectionResult) -> None:
        """Draw a result if it has a picture and is selected; may be called from several threads.

        Raises:
            OSError: If the picture cannot be written.
        """
        if result.picture is None or (self._which == "anomalous" and result.verdict != "anomalous"):
            return
        place = self.place(result.path)
        place.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(place) as partial:
            if place.suffix.lower() == ".png":
                draw(result).save(partial, "PNG", compress_level=1)
            else:
                draw(result).save(partial, "JPEG", quality=92)

    def place(self, path: str) -> Path:
        """Return the path of a file's picture: under its own name, as PNG unless it is PNG or JPEG."""
        file = Path(os.path.abspath(path))  # noqa: PTH100  # follows no links
        inner = file.relative_to(self._source) if file.is_relative_to(self._source) else file.relative_to(file.anchor)
        name = inner.name if inner.suffix.lower() in {".png", ".jpg", ".jpeg"} else f"{inner.name}.png"
        return self._folder / inner.with_name(name)
