# SPDX-License-Identifier: Apache-2.0
"""What a record says of a transform that crops or pads."""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import (
    Compose,
    Grayscale,
    Identity,
    Lambda,
    Normalize,
    RandomHorizontalFlip,
    RandomRotation,
    Resize,
    Transform,
)

from rd_plugin.data.crop import on_whole_image
from rd_plugin.data.crop_steps import _warn, crop_steps
from rd_plugin.export import exportable

from .test_crop import TRANSFORMS


def test_exports_crop_alike() -> None:
    for transform in TRANSFORMS.values():
        assert crop_steps(exportable(transform)) == crop_steps(transform)


@pytest.mark.parametrize(
    "transform",
    [RandomRotation(10), RandomHorizontalFlip(), Lambda(lambda image: image)],
    ids=lambda t: type(t).__name__,
)
def test_geometry_that_is_not_known_is_named_and_nothing_is_laid_over_the_image(
    transform: Transform, caplog: pytest.LogCaptureFixture
) -> None:
    _warn.cache_clear()
    steps = crop_steps(Compose([Resize((64, 64)), transform]))
    name = type(transform).__name__
    assert steps == [["resize", [64, 64], None], ["unknown", name]]
    assert on_whole_image(np.eye(64), (120, 97), steps) is None
    assert crop_steps(transform) == [["unknown", name]]
    assert [f"where {name} moves pixels" in message for message in caplog.messages] == [True]


def test_what_moves_no_pixel_is_known() -> None:
    assert crop_steps(torch.nn.Sequential(Resize((64, 64)), Grayscale(3), Identity(), Normalize([0.5], [0.2]))) == []
