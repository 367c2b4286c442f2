# SPDX-License-Identifier: Apache-2.0
"""MVTec AD under its short name, with the paper's batch size and images of every kind."""

from pathlib import Path
from typing import Any

from anomalib.data import AnomalibDataset, MVTecAD
from anomalib.data.utils import LabelName, Split
from pandas import DataFrame
from torchvision.transforms.v2 import Transform

from .check.pairs import NORMAL, check_pairs, find_images, find_masks
from .image_files import check_links

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
        category: Name of a category.
        split: Training or test.
        augmentations: Augmentations of the images.

    Raises:
        FileNotFoundError: If there is no such category, or a link is broken.
        ValueError: If images and masks do not pair up.
    """

    def __init__(self, root: Path | str, category: str, split: Split, augmentations: Transform | None = None) -> None:
        super().__init__(augmentations=augmentations)
        folder = Path(root) / category
        if not folder.is_dir():
            msg = f"Path does not exist: {str(folder)!r}; expected a folder in MVTec AD's layout."
            raise FileNotFoundError(msg)
        if split is Split.TEST and (problems := check_pairs(folder)):
            msg = f"{len(problems)} images and masks do not pair up; the first: {problems[0]}"
            raise ValueError(msg)
        masked = (folder / "ground_truth").is_dir()
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
        # Without test images anomalib takes some from the training set, as its own data module does.
        samples = DataFrame(rows, columns=_COLUMNS).astype({"label_index": int})
        check_links([*samples["image_path"], *filter(None, samples["mask_path"])])
        samples.attrs["task"] = "segmentation" if masked else "classification"
        self.samples = samples
        self.category = category


class MVTec(MVTecAD):
    """anomalib's MVTec AD data module, called ``MVTec``, with training batches of 16 images.

    It makes ``--data MVTec`` a data module again, so the paper's recipe needs no configuration. Without data in
    ``root`` it downloads the data set, as anomalib's module does. Images may be of any kind; see :class:`MVTecDataset`.

    Args:
        root: Folder with the categories.
        category: Category, e.g. ``"bottle"``.
        train_batch_size: Images in a training batch; the paper trains with 16.
        **kwargs: All other arguments of :class:`anomalib.data.MVTecAD`.

    Example:
        >>> MVTec(category="carpet").train_batch_size
        16
    """

    def __init__(
        self,
        root: Path | str | None = "./datasets/MVTecAD",
        category: str = "bottle",
        train_batch_size: int = 16,
        **kwargs: Any,
    ) -> None:
        super().__init__(root=root, category=category, train_batch_size=train_batch_size, **kwargs)

    def _setup(self, _stage: str | None = None) -> None:
        self.train_data = MVTecDataset(self.root, self.category, Split.TRAIN)
        self.test_data = MVTecDataset(self.root, self.category, Split.TEST)
