# SPDX-License-Identifier: Apache-2.0
import inspect
from pathlib import Path

import pytest
from anomalib.data import ImageBatch, MVTecAD

from rd_plugin import MVTec


def test_arguments_are_anomalibs_but_for_the_batch_size() -> None:
    ours, theirs = (inspect.signature(module).parameters for module in (MVTec, MVTecAD))
    assert list(ours) == list(theirs)
    assert ours["train_batch_size"].default == 16
    different = {name for name in ours if ours[name].default != theirs[name].default}
    assert different == {"train_batch_size"}


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
