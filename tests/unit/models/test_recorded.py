# SPDX-License-Identifier: Apache-2.0
"""Which model a checkpoint is of."""

from pathlib import Path

import pytest
import torch

from rd_plugin.convert.files import write_checkpoint
from rd_plugin.models import METHODS
from rd_plugin.models.distillation import Distillation
from rd_plugin.models.recorded import read_recorded
from rd_plugin.provenance import RECORD_KEY

from .base import SMALL


@pytest.mark.parametrize("method", METHODS)
def test_checkpoint_says_its_model(method: type[Distillation], tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    write_checkpoint(method(**SMALL), path, "RD4AD")
    found = read_recorded(path)
    assert found is not None
    assert found.method is method
    assert found.plain == found.record.plain()


def test_others_say_nothing(tmp_path: Path) -> None:
    for content in ([], {}, {RECORD_KEY: {"method": "Padim"}}, {RECORD_KEY: "ReverseDistillation"}):
        torch.save(content, tmp_path / "other.ckpt")
        assert read_recorded(tmp_path / "other.ckpt") is None
