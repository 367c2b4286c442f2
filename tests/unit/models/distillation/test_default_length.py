# SPDX-License-Identifier: Apache-2.0
"""A run's length if no limit is given."""

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Timer

from rd_plugin.models.distillation.default_length import set_default_length


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (-1, 200)),
        ({"max_epochs": 3}, (3, -1)),
        ({"max_steps": 5}, (-1, 5)),
        ({"max_time": "00:00:01:00"}, (-1, -1)),
        ({"callbacks": [Timer(duration="00:00:01:00")]}, (None, -1)),
    ],
)
def test_default_is_taken_only_without_a_limit(given: dict, expected: tuple[int | None, int]) -> None:
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", **given)
    before = (trainer.max_epochs, trainer.max_steps)
    set_default_length(trainer, max_epochs=-1, max_steps=200)
    assert (trainer.max_epochs, trainer.max_steps) == (before if given else expected)
