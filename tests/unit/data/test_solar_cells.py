# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pandas as pd
import pytest
import torch
from anomalib.data import ImageBatch
from torchvision.transforms.v2 import Resize

from rd_plugin import SolarCells

CELL_TYPES = ("mono", "poly")
SPLITS = ("train", "val", "test")


def set_up(cell_type: str = "mono", seed: int = 0, **arguments: object) -> SolarCells:
    pytest.importorskip("elpv_dataset")
    module = SolarCells(cell_type, num_workers=0, seed=seed, **arguments)
    module.setup()
    return module


def samples(module: SolarCells) -> dict[str, pd.DataFrame]:
    return {split: getattr(module, f"{split}_data").samples for split in SPLITS}


def paths(module: SolarCells) -> dict[str, set[str]]:
    return {split: set(frame["image_path"]) for split, frame in samples(module).items()}


def probabilities(module: SolarCells, split: str) -> list[float]:
    """Experts' probabilities of the cells in a split, from the package's own table."""
    package = Path(pytest.importorskip("elpv_dataset").__file__).parent
    rows = [line.split() for line in (package / "data" / "labels.csv").read_text().splitlines()]
    table = {Path(image).name: round(float(probability), 2) for image, probability, _ in rows}
    return [table[Path(path).name] for path in samples(module)[split]["image_path"]]


@pytest.mark.parametrize("cell_type", CELL_TYPES)
@pytest.mark.parametrize("held_out", [0, 99])
def test_splits_share_no_image(cell_type: str, held_out: int) -> None:
    every = pd.concat(samples(set_up(cell_type, held_out=held_out)).values())["image_path"]
    assert every.is_unique
    # All cells, or all but the doubtful ones.
    assert (
        len(every) == {("mono", 0): 1074, ("poly", 0): 1550, ("mono", 99): 901, ("poly", 99): 1322}[cell_type, held_out]
    )


@pytest.mark.parametrize("cell_type", CELL_TYPES)
def test_what_is_trained_validated_and_tested_on(cell_type: str) -> None:
    module = set_up(cell_type)
    by_split = {split: probabilities(module, split) for split in SPLITS}
    assert set(by_split["train"]) == {0}
    assert by_split["val"] == [0] * 99
    assert set(by_split["test"]) == {0, 1}
    functional = len(by_split["train"]) + 99 + by_split["test"].count(0)
    assert len(by_split["train"]) + 99 == round(0.8 * functional)


@pytest.mark.parametrize("cell_type", CELL_TYPES)
def test_none_held_out_validates_on_the_doubtful_cells(cell_type: str) -> None:
    """The test set is the same, and nothing else is taken from the training set."""
    without, usual = set_up(cell_type, held_out=0), set_up(cell_type)
    assert set(probabilities(without, "val")) == {0.33, 0.67}
    assert paths(without)["test"] == paths(usual)["test"]
    assert paths(without)["train"] == paths(usual)["train"] | paths(usual)["val"]


@pytest.mark.parametrize("held_out", [-1, 236])
def test_held_out_is_at_most_half(held_out: int) -> None:
    with pytest.raises(ValueError, match=f"held_out must be between 0 and 235, got {held_out}"):
        SolarCells(held_out=held_out)


@pytest.mark.parametrize("cell_type", CELL_TYPES)
def test_more_likely_defective_than_not_is_anomalous(cell_type: str) -> None:
    module = set_up(cell_type)
    for split, frame in samples(module).items():
        assert frame["label_index"].tolist() == [probability > 0.5 for probability in probabilities(module, split)]


def test_types_share_no_image() -> None:
    mono, poly = (set.union(*paths(set_up(cell_type)).values()) for cell_type in CELL_TYPES)
    assert not mono & poly


def test_seed_decides_the_split() -> None:
    assert paths(set_up(seed=1)) == paths(set_up(seed=1))
    assert paths(set_up(seed=1))["train"] != paths(set_up(seed=2))["train"]
    assert paths(set_up(seed=1, held_out=0))["val"] == paths(set_up(seed=2, held_out=0))["val"]


def test_split_does_not_depend_on_global_random_numbers() -> None:
    torch.manual_seed(1)
    first = paths(set_up())
    torch.manual_seed(2)
    assert paths(set_up()) == first


def test_batches_are_typed() -> None:
    module = set_up(train_batch_size=3, eval_batch_size=2)
    train, test = next(iter(module.train_dataloader())), next(iter(module.test_dataloader()))
    assert isinstance(train, ImageBatch)
    assert train.image.shape == (3, 3, 300, 300)
    assert train.gt_label.tolist() == [False] * 3
    assert test.image.shape[0] == 2
    assert test.gt_mask is None
    assert module.task == "classification"


def test_augmentations_arrive() -> None:
    module = set_up(train_batch_size=1, train_augmentations=Resize((30, 40)))
    assert next(iter(module.train_dataloader())).image.shape == (1, 3, 30, 40)
    assert next(iter(module.val_dataloader())).image.shape[-2:] == (300, 300)


@pytest.mark.parametrize("cell_type", ["amorphous", "Mono", ""])
def test_unknown_type(cell_type: str) -> None:
    with pytest.raises(ValueError, match=rf"cell_type must be 'mono' or 'poly', got '{cell_type}'"):
        SolarCells(cell_type)


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rd_plugin.data.solar_cells.find_spec", lambda _name: None)
    with pytest.raises(ModuleNotFoundError, match=r"needs the package 'elpv-dataset': pip install 'rd-plugin\[demo\]'"):
        SolarCells().setup()
