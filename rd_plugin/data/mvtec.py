# SPDX-License-Identifier: Apache-2.0
"""MVTec AD under its short name, with the paper's batch size and images of every kind."""

from pathlib import Path
from typing import Any

from anomalib.data import AnomalibDataset, MVTecAD
from anomalib.data.utils import LabelName, Split
from pandas import DataFrame, concat
from torchvision.transforms.v2 import Transform

from .check.pairs import NORMAL, check_pairs, find_images, find_masks
from .image_files import check_links
from .part_names import check_names

__all__ = ["MVTec", "MVTecDataset"]

# The extensions that anomalib's data set reads.
_COLUMNS = ["path", "split", "label", "image_path", "label_index", "mask_path"]


class MVTecDataset(AnomalibDataset):
    """One split of a category in MVTec AD's layout: ``train/good``, ``test/<defect>``, ``ground_truth/<defect>``.

    It reads all images whose extension torchvision knows, in lower or upper case, and follows links; anomalib's own
    data set reads ``.png`` and silently ignores all other files. The mask of a defective image has the same name, with
    any extension: ``007_mask.png`` or ``007.png`` for ``007.jpg``. Without a folder ``ground_truth`` there are no
    masks.

    Args:
        root: Folder with the categories.
        category: Name of a category; ``None`` for all of them.
        split: Training or test.
        augmentations: Augmentations of the images.

    Raises:
        FileNotFoundError: If there is no such category, or a link is broken.
        ValueError: If images and masks do not pair up.
    """

    def __init__(
        self, root: Path | str, category: str | None, split: Split, augmentations: Transform | None = None
    ) -> None:
        super().__init__(augmentations=augmentations)
        categories = categories_of(root) if category is None else (category,)
        tables = [_samples(Path(root) / name, split) for name in categories]
        # Without test images anomalib takes some from the training set, as its own data module does.
        samples = concat(tables, ignore_index=True).astype({"label_index": int})
        check_links([*samples["image_path"], *filter(None, samples["mask_path"])])
        without = [name for name in categories if not (Path(root) / name / "ground_truth").is_dir()]
        if without and len(without) < len(categories):
            msg = f"some categories have masks, but not {', '.join(without)}; give a ground_truth to all or to none."
            raise ValueError(msg)
        samples.attrs["task"] = "classification" if without else "segmentation"
        if category is None:
            samples["part"] = [Path(folder).name for folder in samples["path"]]
            check_names(samples["image_path"], samples["part"])
        self.samples = samples
        self.category = category or ""


def categories_of(root: Path | str) -> tuple[str, ...]:
    """Return the names of the categories in a folder: its subfolders with ``train/good``."""
    return tuple(sorted(folder.parents[1].name for folder in Path(root).glob(f"*/train/{NORMAL}")))


def _samples(folder: Path, split: Split) -> DataFrame:
    """The samples of a category."""
    if not folder.is_dir():
        msg = f"Path does not exist: {str(folder)!r}; expected a folder in MVTec AD's layout."
        raise FileNotFoundError(msg)
    if split is Split.TEST and (problems := check_pairs(folder)):
        msg = f"{len(problems)} images and masks do not pair up; the first: {problems[0]}"
        raise ValueError(msg)
    rows = []
    for label in sorted(path for path in (folder / split.value).glob("*") if path.is_dir()):
        anomalous = label.name != NORMAL
        masks = find_masks(folder / "ground_truth" / label.name) if anomalous and split is Split.TEST else {}
        rows += [
            (
                str(folder),
                split.value,
                label.name,
                str(image),
                int(LabelName.ABNORMAL if anomalous else LabelName.NORMAL),
                str(masks[image.stem][0]) if image.stem in masks else "",
            )
            for image in find_images(label)
        ]
    return DataFrame(rows, columns=_COLUMNS)


class MVTec(MVTecAD):
    """anomalib's MVTec AD data module, called ``MVTec``, with training batches of 16 images.

    It makes ``--data MVTec`` a data module again, so the paper's recipe needs no configuration. Without data in
    ``root`` it downloads the data set, as anomalib's module does. Images may be of any kind; see :class:`MVTecDataset`.

    Args:
        root: Folder with the categories.
        category: Category, e.g. ``"bottle"``; ``None`` for one model of all categories in ``root``, each of which gets
            its own thresholds and metrics.
        train_batch_size: Images in a training batch; the paper trains with 16.
        **kwargs: All other arguments of :class:`anomalib.data.MVTecAD`.

    Example:
        >>> MVTec(category="carpet").train_batch_size
        16
    """

    def __init__(
        self,
        root: Path | str | None = "./datasets/MVTecAD",
        category: str | None = "bottle",
        train_batch_size: int = 16,
        **kwargs: Any,
    ) -> None:
        super().__init__(root=root, category=category or "", train_batch_size=train_batch_size, **kwargs)

    def _setup(self, _stage: str | None = None) -> None:
        if not self.category and not self.parts:
            msg = f"data.root {str(self.root)!r} has no category: there is no folder like bottle/train/good in it."
            raise FileNotFoundError(msg)
        self.train_data = MVTecDataset(self.root, self.category or None, Split.TRAIN)
        self.test_data = MVTecDataset(self.root, self.category or None, Split.TEST)

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the categories, if there is one model for all; otherwise empty."""
        return () if self.category else categories_of(self.root)
