# SPDX-License-Identifier: Apache-2.0
"""Tensors of another program put into our modules."""

import pytest
import torch
from torch import nn

from rd_plugin.convert.transfer import load_renamed

THEIRS = {"w": torch.ones(2, 3), "b": torch.ones(2)}
NAMES = {"w": "weight", "b": "bias"}


def _rename(name: str) -> str:
    if name not in NAMES:
        msg = "no such layer"
        raise ValueError(msg)
    return NAMES[name]


def test_all_tensors_find_their_places() -> None:
    module = nn.Linear(3, 2)
    load_renamed(module, THEIRS, _rename, "decoder.", "a.pth does not fit")
    assert torch.equal(module.weight, THEIRS["w"])


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({**THEIRS, "x": torch.ones(1)}, r"decoder\.x is unknown \(no such layer\)"),
        ({**THEIRS, "w": torch.ones(3, 2)}, r"decoder\.w has shape \(3, 2\), expected \(2, 3\)"),
        ({"w": THEIRS["w"]}, r"among decoder\.\* there is nothing for our bias of shape \(2,\)"),
    ],
)
def test_what_does_not_fit(tensors: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"a.pth does not fit: {message}"):
        load_renamed(nn.Linear(3, 2), tensors, _rename, "decoder.", "a.pth does not fit")
