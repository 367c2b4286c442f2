# SPDX-License-Identifier: Apache-2.0
import torch

from rd_plugin.synthetic import spot_masks


def test_spots_are_small_and_on_the_object() -> None:
    torch.manual_seed(0)
    objects = torch.zeros(200, 1, 256, 128)
    objects[..., 40:100, 20:90] = 1
    masks = spot_masks(objects)
    assert set(masks.unique().tolist()) == {0, 1}
    assert (masks <= objects).all()
    area = masks.sum((1, 2, 3))
    assert area.min() >= 1
    # At most a disc of ten sixty-fourths of the shorter side.
    assert area.max() <= 3.2 * 10**2 + 20
    assert area.std() > 20
    longest = torch.maximum(masks.amax(3).sum((1, 2)), masks.amax(2).sum((1, 2)))
    assert (longest**2 > 8 * area).float().mean() > 0.03  # scratches


def test_small_images_and_no_object() -> None:
    masks = spot_masks(torch.cat([torch.ones(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)]))
    assert masks[0].sum() >= 1
    assert masks[1].sum() == 0
