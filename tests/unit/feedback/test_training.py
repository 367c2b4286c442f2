# SPDX-License-Identifier: Apache-2.0
"""A few more steps of the models that learn in steps."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch

from rd_plugin import ExpertReverseDistillation, ReverseDistillation, RevisitedReverseDistillation
from rd_plugin.feedback.training import train_further
from rd_plugin.models.distillation import Distillation
from tests.compatibility.make_files import SMALL, draw

from .conftest import other, save

METHODS = [ReverseDistillation, ExpertReverseDistillation, RevisitedReverseDistillation]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
def test_steps_are_the_same_again_and_running_statistics_stay(method: type[Distillation], tmp_path: Path) -> None:
    new, old = save(tmp_path / "new", other(5, seed=0)), save(tmp_path / "old", draw(5, seed=1))
    # On a map of a single position an instance norm would have nothing to normalize by.
    first = method(**{**SMALL, "image_size": (64, 64)}, layers=["blocks.0", "blocks.1"])
    second, before = deepcopy(first), deepcopy(first.model.state_dict())
    state = torch.get_rng_state()
    train_further(first, new, old, steps=2)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(1)
    train_further(second, new, old, steps=2)
    after = first.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in second.model.state_dict().items())
    changed = {name for name, value in before.items() if not torch.equal(after[name], value)}
    assert any(name.startswith("student.") for name in changed)
    assert not any(name.endswith(("running_mean", "running_var")) for name in changed)
    # Only RD with Expert trains its teacher.
    trained = any(name.startswith("teacher.") for name in changed)
    assert trained == (method is ExpertReverseDistillation)


def test_statistics_are_those_of_old_and_new_images(tmp_path: Path) -> None:
    new, old = save(tmp_path / "new", other(5, seed=0)), save(tmp_path / "old", draw(5, seed=1))
    module = ReverseDistillation(**SMALL, layers=["blocks.0"], deviation="mahalanobis")
    with pytest.raises(ValueError, match="give training, the folder of the images that it was trained on"):
        train_further(module, new, [], steps=1)
    train_further(module, new, old, steps=1)
    with torch.no_grad():
        scores = module(torch.from_numpy(draw(5, seed=1)).permute(0, 3, 1, 2) / 255).pred_score
    assert scores.isfinite().all()
