# SPDX-License-Identifier: Apache-2.0
"""MVTec AD under its short name, with the paper's batch size."""

from pathlib import Path

from anomalib.data import MVTecAD
from anomalib.data.utils import TestSplitMode, ValSplitMode
from torchvision.transforms.v2 import Transform

__all__ = ["MVTec"]


class MVTec(MVTecAD):
    """anomalib's MVTec AD data module, called ``MVTec`` and with batches of 16 images to train on.

    With it ``--data MVTec`` names a data module again, and the paper's recipe needs no configuration. Without data at
    ``root`` it downloads the data set, as anomalib's module does.

    Args:
        root: Folder with the categories.
        category: Category, e.g. ``"bottle"``.
        train_batch_size: Images in a training batch; the paper trains with 16.
        eval_batch_size: Images in an evaluation batch.
        num_workers: Processes that read images.
        train_augmentations: Augmentations of training images; the paper has none.
        val_augmentations: Augmentations of validation images.
        test_augmentations: Augmentations of test images.
        augmentations: Augmentations of all images for which no others are given.
        test_split_mode: Where test images come from.
        test_split_ratio: Share of test images, if they are split off.
        val_split_mode: Where validation images come from.
        val_split_ratio: Share of validation images, if they are split off.
        seed: Seed of the splits.

    Example:
        >>> MVTec(category="carpet").train_batch_size
        16
    """

    def __init__(
        self,
        root: Path | str | None = "./datasets/MVTecAD",
        category: str = "bottle",
        train_batch_size: int = 16,
        eval_batch_size: int = 32,
        num_workers: int = 8,
        train_augmentations: Transform | None = None,
        val_augmentations: Transform | None = None,
        test_augmentations: Transform | None = None,
        augmentations: Transform | None = None,
        test_split_mode: TestSplitMode | str = TestSplitMode.FROM_DIR,
        test_split_ratio: float = 0.2,
        val_split_mode: ValSplitMode | str = ValSplitMode.SAME_AS_TEST,
        val_split_ratio: float = 0.5,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            root=root,
            category=category,
            train_batch_size=train_batch_size,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            train_augmentations=train_augmentations,
            val_augmentations=val_augmentations,
            test_augmentations=test_augmentations,
            augmentations=augmentations,
            test_split_mode=test_split_mode,
            test_split_ratio=test_split_ratio,
            val_split_mode=val_split_mode,
            val_split_ratio=val_split_ratio,
            seed=seed,
        )
