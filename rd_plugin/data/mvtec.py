# SPDX-License-Identifier: Apache-2.0
"""MVTec AD under its short name, with the paper's batch size."""

from pathlib import Path
from typing import Any

from anomalib.data import MVTecAD

__all__ = ["MVTec"]


class MVTec(MVTecAD):
    """anomalib's MVTec AD data module, called ``MVTec`` and with batches of 16 images to train on.

    With it ``--data MVTec`` names a data module again, and the paper's recipe needs no configuration. Without data at
    ``root`` it downloads the data set, as anomalib's module does.

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
