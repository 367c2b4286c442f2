# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import Tensor

from rd_plugin.synthetic import TwinGenerator, perlin_masks

SIZES = [(64, 64), (48, 80), (33, 57), (16, 31)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [1, 5])
def test_masks(size: tuple[int, int], count: int) -> None:
    masks = perlin_masks(torch.ones(count, 1, *size))
    assert masks.shape == (count, 1, *size)
    assert masks.dtype == torch.float32
    assert ((masks == 0) | (masks == 1)).all()


@pytest.mark.parametrize("size", SIZES)
def test_share_of_the_anomalies(size: tuple[int, int]) -> None:
    shares = perlin_masks(torch.ones(200, 1, *size)).mean(dim=(1, 2, 3))
    assert 0.01 < shares.median() < 0.2
    assert shares.max() < 0.9


@pytest.mark.parametrize("size", SIZES)
def test_no_mask_is_empty(size: tuple[int, int]) -> None:
    assert perlin_masks(torch.ones(1000, 1, *size)).flatten(1).any(dim=1).all()


def edges(mask: Tensor) -> float:
    """Changes from column to column and row to row, per anomalous pixel."""
    changes = (mask[..., 1:] - mask[..., :-1]).abs().sum() + (mask[..., 1:, :] - mask[..., :-1, :]).abs().sum()
    return float(changes / mask.sum())


def test_masks_are_blobs_of_many_sizes() -> None:
    masks = perlin_masks(torch.ones(60, 1, 64, 64))
    raggedness = torch.tensor([edges(mask) for mask in masks])
    # A single pixel has four edges per pixel, a disc of radius 8 has a third.
    assert raggedness.median() < 2
    assert raggedness.min() < 0.4
    assert raggedness.max() > 1
    assert (masks.flatten(1) != masks[:1].flatten(1)).any(dim=1)[1:].all()


def test_masks_may_be_anywhere() -> None:
    covered = perlin_masks(torch.ones(300, 1, 32, 48)).amax(dim=0)[0] > 0
    assert covered.all()


@pytest.mark.parametrize("size", [(32, 32), (16, 31)])
@pytest.mark.parametrize("count", [1, 4])
def test_twins_are_the_images_outside_the_masks(size: tuple[int, int], count: int) -> None:
    images = torch.randn(count, 3, *size)
    copy = images.clone()
    twins, masks = TwinGenerator()(images)
    assert torch.equal(images, copy)
    assert twins.shape == images.shape
    assert twins.isfinite().all()
    assert masks.shape == (count, 1, *size)
    inside = masks.expand_as(images) > 0
    assert torch.equal(twins[~inside], images[~inside])
    if inside.any():
        assert (twins[inside] != images[inside]).float().mean() > 0.9


def test_seed() -> None:
    images, generator = torch.randn(3, 3, 32, 32), TwinGenerator()
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(generator(images))
    first, same, other = results
    assert all(torch.equal(a, b) for a, b in zip(first, same, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_share_of_the_texture() -> None:
    images = torch.zeros(64, 3, 32, 32)
    twins, masks = TwinGenerator()(images, torch.ones_like)
    shares = []
    for twin, mask in zip(twins, masks, strict=True):
        inside = twin[mask.expand_as(twin) > 0]
        if inside.numel():
            assert torch.equal(inside, inside[:1].expand_as(inside))
            shares.append(inside[0])
    shares = torch.stack(shares)
    assert shares.min() >= 0.2
    assert shares.max() <= 1
    # Each image has its own, from the whole range.
    assert shares.min() < 0.3
    assert shares.max() > 0.9


def test_textures_are_those_given() -> None:
    images, textures = torch.randn(2, 8, 3, 32, 32)
    asked = []

    def give(of: Tensor) -> Tensor:
        asked.append(of)
        return textures

    twins, masks = TwinGenerator()(images, give)
    assert len(asked) == 1
    assert asked[0] is images
    for image, texture, twin, mask in zip(images, textures, twins, masks, strict=True):
        inside = mask.expand_as(image) > 0
        if not inside.any():
            continue
        difference = (texture - image)[inside]
        share = ((twin - image)[inside] * difference).sum() / difference.square().sum()
        assert 0.2 <= share <= 1
        torch.testing.assert_close(twin[inside], torch.lerp(image, texture, share)[inside], rtol=1e-4, atol=1e-4)


def test_grey_images_have_grey_twins() -> None:
    images = torch.randn(6, 1, 32, 32).expand(-1, 3, -1, -1)
    twins, masks = TwinGenerator()(images)
    assert masks.any()
    torch.testing.assert_close(twins, twins[:, :1].expand_as(twins))


def test_textures_come_from_other_images_of_the_batch() -> None:
    # One image is zero, the other has positive stripes; so the stripes in the first one's twin are not its own.
    stripes = torch.tensor([0.0, 4.0]).repeat(16).expand(3, 32, 32)
    images = torch.stack([torch.zeros(3, 32, 32), stripes])
    spreads = []
    for _ in range(20):
        twins, masks = TwinGenerator()(images)
        inside = twins[0][masks[0].expand(3, -1, -1) > 0]
        if len(inside) > 30:
            spreads.append(inside.std())
    assert min(spreads) > 0.01


@pytest.mark.parametrize("kind", ["otsu", "grabcut"])
def test_anomalies_are_on_the_foreground(kind: str) -> None:
    images = 0.05 * torch.rand(12, 3, 48, 48)
    images[..., 12:36, 12:36] += 1
    twins, masks = TwinGenerator(kind)(images)
    assert masks.any()
    outside = torch.ones(48, 48, dtype=torch.bool)
    # GrabCut may be off by a pixel.
    outside[11:37, 11:37] = False
    assert not masks[..., outside].any()
    assert torch.equal(twins[..., outside], images[..., outside])
    torch.manual_seed(0)
    everywhere = TwinGenerator()(images)[1]
    assert everywhere[..., outside].any()


def test_masks_that_miss_the_object_are_drawn_again() -> None:
    images = torch.zeros(40, 3, 48, 48)
    images[..., 20:32, 14:26] = 1
    missed = (perlin_masks(torch.ones(40, 1, 48, 48)) * images[:, :1]).flatten(1).amax(dim=1) == 0
    assert missed.sum() > 10
    _, masks = TwinGenerator("otsu")(images)
    assert masks.flatten(1).any(dim=1).all()


def test_mask_that_cannot_meet_its_object_stays_empty() -> None:
    objects = torch.ones(3, 1, 16, 16)
    objects[1] = 0
    assert perlin_masks(objects).flatten(1).any(dim=1).tolist() == [True, False, True]


def test_bfloat16_images() -> None:
    images = torch.randn(2, 3, 32, 32).bfloat16()
    twins, masks = TwinGenerator()(images)
    assert twins.dtype == masks.dtype == torch.bfloat16
    inside = masks.expand_as(images) > 0
    assert torch.equal(twins[~inside], images[~inside])


def test_no_gradient() -> None:
    twins, masks = TwinGenerator()(torch.randn(2, 3, 32, 32, requires_grad=True))
    assert not twins.requires_grad
    assert not masks.requires_grad
