# SPDX-License-Identifier: Apache-2.0
"""A training that leaves no file."""

from pathlib import Path

import pytest

from rd_plugin import PartsFolder
from rd_plugin.comparison import fit, methods


def test_only_the_model_is_left(mvtec_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = methods.build("ReverseDistillation", {"layers": ["layer1"]}, "test_resnet", "false", 32)
    images = PartsFolder(mvtec_root / "tile" / "train", num_workers=0, train_batch_size=4)
    before = {name: value.clone() for name, value in model.model.student.state_dict().items()}
    assert fit(model, images, accelerator="cpu", max_steps=1) > 0
    assert any(not value.equal(before[name]) for name, value in model.model.student.state_dict().items())
    assert list(tmp_path.iterdir()) == []
