# SPDX-License-Identifier: Apache-2.0
"""A model on the images of a part: its threshold comes from images that are not reported."""

from pathlib import Path

import numpy as np
import pytest

from rd_plugin import PartsFolder
from rd_plugin.comparison import Trial, methods, run_trial

from ...pictures import draw_noise

TEACHER = ("resnet18", "false", 32)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return draw_noise(tmp_path / "cap", {"good": 12, "defect/scratch": 2, "defect/stain": 3})


@pytest.mark.parametrize(
    ("name", "arguments"), [("ReverseDistillation", {}), ("anomalib.Padim", {"n_features": 8})], ids=["ours", "theirs"]
)
def test_trial(root: Path, name: str, arguments: dict) -> None:
    images = PartsFolder(root, num_workers=0, train_batch_size=3)
    found = run_trial(name, methods.build(name, arguments, *TEACHER), images, "cap", "cpu", steps=2)
    assert (found.held_out, found.false_alarms.total, found.defects_found.total) == (6, 2, 5)
    assert {kind: found.found_of(kind).total for kind in found.kinds if kind} == {"scratch": 2, "stain": 3}
    assert found.milliseconds > 0
    assert found.size > 10**6
    # Six images allow for a rate of one in seven at best: the highest score, which no test image has set.
    assert found.threshold not in found.scores


def test_counts() -> None:
    scores, defective = np.array([0.1, 0.9, 0.9, 0.2]), np.array([False, False, True, True])
    found = Trial("A", "cap", scores, defective, ("", "", "dent", "stain"), 0.5, 99, 1.0, 1, 1.0)
    assert str(found.false_alarms).startswith("1 of 2")
    assert str(found.defects_found).startswith("1 of 2")
    assert (found.found_of("dent").count, found.found_of("stain").count) == (1, 0)


def test_data_without_defects(root: Path) -> None:
    for path in (root / "defect").rglob("*.png"):
        path.unlink()
    images = PartsFolder(root, num_workers=0, abnormal_dir=[])
    with pytest.raises(ValueError, match="cap: a comparison needs good images and defects in the test, got 0 defects"):
        run_trial("A", methods.build("ReverseDistillation", {}, *TEACHER), images, "cap", "cpu", steps=1)
