# SPDX-License-Identifier: Apache-2.0
"""What a suite consists of: its data sets with their categories, and its variants of a model."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from anomalib.data import AnomalibDataModule, Visa
from anomalib.data.datamodules.image.visa import VISA_CATEGORIES
from anomalib.data.datasets.image.mvtecad import CATEGORIES
from anomalib.data.utils import ValSplitMode
from torchvision.datasets.folder import find_classes

from rd_plugin import MVTec, OneClass, SolarCells

__all__ = ["ABLATIONS", "DATA", "TRANSFORMERS", "BuildData", "Category", "categories", "study_data", "variants"]

BuildData = Callable[..., AnomalibDataModule]
# Name of the data set, name of the category, and what builds its data module.
Category = tuple[str, str, BuildData]
TRANSFORMERS = "transformers"
DATA = ("mvtec", "visa", "one_class", "solar", "folder")
ABLATIONS = ("ablation_bottleneck", "ablation_scales", "ablation_evidence", "ablation_backbone")
# Those of torchvision, with ten classes each.
_ONE_CLASS = ("CIFAR10", "MNIST", "FashionMNIST")


def _mvtec_layout(name: str, root: Path, categories: Iterable[str]) -> list[Category]:
    build = partial(MVTec, root, val_split_mode=ValSplitMode.NONE)
    return [(name, category, partial(build, category)) for category in categories]


def _one_class(name: str, source: Path | str, root: Path, classes: Iterable[str | int]) -> list[Category]:
    build = partial(OneClass, source, root=root, val_split_mode="none")
    return [(name, str(normal), partial(build, normal)) for normal in classes]


def categories(data: str, root: Path | None) -> list[Category]:
    """Return the categories of the data sets of a name in ``DATA``, without validation images: nothing is chosen.

    Args:
        data: The name.
        root: Where they are. For ``one_class`` a folder of classes, or where torchvision's data sets are kept.

    Raises:
        ValueError: If there is nothing at ``root``.
    """
    if data == "mvtec":
        return _mvtec_layout("MVTecAD", root or Path("datasets/MVTecAD"), CATEGORIES)
    if data == "visa":
        build = partial(Visa, root or Path("datasets/visa"), val_split_mode=ValSplitMode.NONE)
        return [("VisA", category, partial(build, category)) for category in VISA_CATEGORIES]
    if data == "solar":
        return [("solar", kind, partial(SolarCells, kind, held_out=0)) for kind in ("mono", "poly")]
    if data == "one_class":
        if root is not None and (root / "train").is_dir():
            return _one_class(root.resolve().name, root, root, find_classes(root / "train")[0])
        return [
            cell for source in _ONE_CLASS for cell in _one_class(source, source, root or Path("datasets"), range(10))
        ]
    found = sorted(good.parents[1].name for good in root.glob("*/train/good")) if root else []
    if not found:
        msg = f"folder needs --root, a folder with */train/good in MVTec AD's layout; got {root}."
        raise ValueError(msg)
    return _mvtec_layout(root.resolve().name, root, found)


def study_data(name: str, root: Path | None) -> BuildData:
    """Return what builds the data of a study, without validation images: nothing is chosen.

    Args:
        name: ``"mono"`` or ``"poly"`` for solar cells, of which ``"solar"`` are the former; ``"tiles"`` for magnetic
            tiles.
        root: For tiles the folder that holds ``magnetic_tile/`` in MVTec AD's layout.

    Raises:
        ValueError: If there are no tiles.
    """
    if name != "tiles":
        return partial(SolarCells, "mono" if name == "solar" else name, held_out=0)
    if root is None or not (root / "magnetic_tile").is_dir():
        msg = f"tiles need --root, the folder that holds magnetic_tile/ in MVTec AD's layout; got {root}."
        raise ValueError(msg)
    return partial(MVTec, root, "magnetic_tile", val_split_mode=ValSplitMode.NONE)


def variants(suite: str, backbones: dict[str, str]) -> list[dict[str, Any]]:
    """Return the settings of a cell that a suite varies, over those that the user gives; arguments are added to his.

    Args:
        suite: The suite.
        backbones: Teachers of ``ablation_backbone``, with their weights.
    """
    if suite == "ablation_bottleneck":
        return [{"arguments": {"bottleneck": bottleneck}} for bottleneck in ("none", "oce", "mff_oce")]
    if suite == "ablation_scales":
        return [{"scales": "subsets"}]
    if suite == "ablation_evidence":
        return [{"scales": "evidence"}]
    if suite == "ablation_backbone":
        return [{"backbone": name, "pre_trained": weights} for name, weights in backbones.items()]
    return [{}]
