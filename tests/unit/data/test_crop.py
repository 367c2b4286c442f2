# SPDX-License-Identifier: Apache-2.0
"""What a model that crops says, brought back to the whole image."""

import numpy as np
import pytest
import torch
from anomalib.data.transforms import ExportableCenterCrop as AnomalibCenterCrop
from anomalib.data.transforms.square_pad import SquarePad
from torchvision.transforms.v2 import (
    CenterCrop,
    Compose,
    Normalize,
    Pad,
    Resize,
    Transform,
)

from rd_plugin.data.crop import on_whole_image
from rd_plugin.data.crop_steps import crop_steps

TRANSFORMS = {
    "resize, crop": Compose([Resize((64, 64)), CenterCrop(48)]),
    "shorter side": Compose([Resize(64), CenterCrop((48, 40))]),
    "longer side limited": Compose([Resize(64, max_size=80), CenterCrop(48)]),
    "crop first": Compose([CenterCrop((100, 75)), Compose([Resize((64, 64))])]),
    "crop": AnomalibCenterCrop((65, 64)),
    "added": Compose([Resize((64, 48)), CenterCrop(80)]),
    "square, resized": Compose([SquarePad(), Resize((64, 64)), Normalize([0.0], [1.0])]),
    "resized, square": Compose([Resize(64), SquarePad()]),
    "padded": Compose([Pad((3, 10, 20, 0)), Resize((64, 48))]),
    "padded on all sides": Compose([Resize((48, 64)), Pad(5)]),
    "padded, cropped": Compose([Pad([8, 2]), Resize((80, 80)), CenterCrop(60)]),
    "twice": Compose([CenterCrop(150), Resize((75, 60)), CenterCrop((32, 75))]),
}


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS.keys())
@pytest.mark.parametrize("size", [(120, 120), (97, 203), (300, 101)])
def test_each_pixel_is_where_it_came_from(transform: Transform, size: tuple[int, int]) -> None:
    """Images hold their own rows and columns. What a crop has added, or a resize has mixed with it, is left out."""
    rows, columns = torch.meshgrid(*(torch.arange(float(side)) for side in size), indexing="ij")
    steps = crop_steps(transform)
    seen = on_whole_image(transform(torch.ones(1, *size))[0].numpy(), size, steps) > 0.9999
    assert seen.any()
    for axis, places in enumerate((rows, columns)):
        whole = on_whole_image(transform(places[None])[0].numpy(), size, steps)
        scale = size[axis] / whole.shape[axis]
        expected = (np.arange(whole.shape[axis]) + 0.5) * scale - 0.5
        found, wanted = whole[seen], np.broadcast_to(expected[:, None] if axis == 0 else expected, whole.shape)[seen]
        # Where a crop takes half a pixel, and where the whole has no whole number of them.
        np.testing.assert_allclose(found, wanted, atol=1.5 * max(scale, 1))


@pytest.mark.parametrize("transform", [None, Resize((64, 48)), Compose([Resize(64), Normalize([0.5], [0.5])])])
def test_nothing_is_done_where_nothing_is_cropped(transform: Transform | None) -> None:
    assert crop_steps(transform) == []
    plane = np.eye(4)
    assert on_whole_image(plane, (30, 40), []) is plane


def test_masks_of_another_size_than_the_models_input() -> None:
    """Maps of half its size, for example."""
    whole = on_whole_image(np.ones((24, 24), bool), (100, 200), crop_steps(TRANSFORMS["resize, crop"]))
    assert whole.dtype == bool
    assert whole.shape == (32, 32)
    assert whole[4:28, 4:28].all()
    assert whole.sum() == 24 * 24
