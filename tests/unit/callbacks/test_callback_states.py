# SPDX-License-Identifier: Apache-2.0
"""States of users' callbacks."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

from rd_plugin import ReverseDistillation
from rd_plugin.callbacks.callback_states import pack_states, unpack_states
from rd_plugin.inspection import load_inferencer
from rd_plugin.storage import read_plain

from ..models.base import SMALL, loader, with_thresholds
from ..trainers import quiet_trainer


class Keeper(Callback):
    """Keeps a path."""

    def __init__(self) -> None:
        self.restored: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"place": Path("images")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.restored = state_dict


def test_plain_states_are_left_as_they_are() -> None:
    checkpoint = {"state_dict": {}, "callbacks": {"Plain": {"score": torch.ones(1), "best": "a.ckpt"}}}
    assert pack_states(checkpoint) == checkpoint
    assert pack_states({"state_dict": {}}) == {"state_dict": {}}


def test_a_checkpoint_stays_readable(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is inspected, tested and resumed; the state is there for those who trust the file."""
    caplog.set_level(logging.INFO, "rd_plugin")
    path = tmp_path / "model.ckpt"
    model = with_thresholds(ReverseDistillation(**SMALL, image_size=32))
    trainer = quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0, callbacks=[Keeper()])
    trainer.fit(model, loader())
    trainer.save_checkpoint(path)
    assert load_inferencer(path).threshold == 0.5
    keeper = Keeper()
    resumed = quiet_trainer(tmp_path, max_steps=2, limit_val_batches=0, callbacks=[keeper])
    resumed.fit(ReverseDistillation(**SMALL, image_size=32), loader(), ckpt_path=path)
    assert (resumed.global_step, keeper.restored) == (2, None)
    assert "The state of the callback Keeper is left out" in caplog.text
    content = read_plain(path)
    unpack_states(content, trusted=True)
    assert content["callbacks"]["Keeper"] == {"place": Path("images")}
