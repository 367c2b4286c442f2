# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
from anomalib.data import ImageBatch, MVTecAD
from jsonargparse import ArgumentParser

from rd_plugin import MVTec


def _defaults(module: type) -> dict:
    """Arguments that the command line offers, with their defaults."""
    parser = ArgumentParser()
    parser.add_class_arguments(module, "data")
    return parser.get_defaults().as_dict()["data"]


def test_command_line_offers_anomalibs_arguments_with_the_papers_batch_size() -> None:
    assert _defaults(MVTec) == {**_defaults(MVTecAD), "train_batch_size": 16}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("category", "tile"),
        ("train_batch_size", 3),
        ("eval_batch_size", 5),
        ("num_workers", 0),
        ("test_split_mode", "synthetic"),
        ("test_split_ratio", 0.3),
        ("val_split_mode", "from_test"),
        ("val_split_ratio", 0.4),
        ("seed", 7),
    ],
)
def test_arguments_arrive(name: str, value: object) -> None:
    assert getattr(MVTec(**{name: value}), name) == value


def test_reads_its_layout(mvtec_root: Path) -> None:
    module = MVTec(root=mvtec_root, category="tile", num_workers=0)
    module.setup()
    assert (len(module.train_data), len(module.val_data), len(module.test_data)) == (12, 12, 12)
    batch = next(iter(module.train_dataloader()))
    assert isinstance(batch, ImageBatch)
    assert batch.image.shape == (12, 3, 96, 96)
    assert not batch.gt_label.any()
    test = [item for batch in module.test_dataloader() for item in batch]
    assert sum(int(item.gt_label) for item in test) == 8
    assert all(bool(item.gt_mask.any()) == bool(item.gt_label) for item in test)
