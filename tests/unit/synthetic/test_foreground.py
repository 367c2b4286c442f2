# SPDX-License-Identifier: Apache-2.0
import cv2
import pytest
import torch
from torch import Tensor

from rd_plugin.synthetic import foreground


def disc(side: int, radius: float, centre: tuple[float, float] = (0.5, 0.5)) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return torch.hypot(rows - centre[0] * side, columns - centre[1] * side) < radius * side


def picture(mask: Tensor, inside: tuple[float, float, float], outside: tuple[float, float, float]) -> Tensor:
    """An image with an object, and a little noise, in some range of values."""
    colours = torch.where(mask, torch.tensor(inside)[:, None, None], torch.tensor(outside)[:, None, None])
    return colours + 0.05 * torch.randn(3, *mask.shape)


def overlap(first: Tensor, second: Tensor) -> float:
    """Intersection over union."""
    first, second = first.bool(), second.bool()
    return float((first & second).sum() / (first | second).sum())


BRIGHT, DARK = (1.9, 1.5, 1.7), (-1.2, -1.5, -1.0)


@pytest.mark.parametrize("kind", ["otsu", "grabcut"])
@pytest.mark.parametrize(("inside", "outside"), [(BRIGHT, DARK), (DARK, BRIGHT)])
@pytest.mark.parametrize("radius", [0.2, 0.4])
def test_object_brighter_or_darker_than_the_background(
    kind: str,
    inside: tuple[float, float, float],
    outside: tuple[float, float, float],
    radius: float,
) -> None:
    # The larger disc is most of the image; it is the border that tells the background.
    discs = [disc(64, radius), disc(64, radius, (0.55, 0.45))]
    masks = foreground(torch.stack([picture(mask, inside, outside) for mask in discs]), kind)
    assert masks.shape == (2, 1, 64, 64)
    assert ((masks == 0) | (masks == 1)).all()
    for found, mask in zip(masks, discs, strict=True):
        assert overlap(found[0], mask) > 0.9


def test_grabcut_tells_by_colour() -> None:
    # Both as bright as the other, so that there is no grey threshold between them.
    mask = disc(64, 0.3)
    image = picture(mask, (1.0, 0.0, 0.5), (0.0, 0.5, 0.5)).unsqueeze(0)
    assert overlap(foreground(image, "grabcut")[0, 0], mask) > 0.9


@pytest.mark.parametrize("size", [(256, 200), (129, 300)])
def test_grabcut_on_images_larger_than_it_works_on(size: tuple[int, int]) -> None:
    mask = torch.zeros(size, dtype=torch.bool)
    mask[size[0] // 4 : size[0] // 4 * 3, size[1] // 3 : size[1] // 3 * 2] = True
    found = foreground(picture(mask, BRIGHT, DARK).unsqueeze(0), "grabcut")
    assert found.shape == (1, 1, *size)
    assert overlap(found[0, 0], mask) > 0.9


@pytest.mark.parametrize("kind", ["otsu", "grabcut"])
def test_same_image_same_mask(kind: str) -> None:
    image = picture(disc(48, 0.3), (0.5, 0.4, 0.5), (0.35, 0.35, 0.3)).unsqueeze(0)
    masks = []
    for seed in (1, 2):
        cv2.setRNGSeed(seed)
        torch.manual_seed(seed)
        masks.append(foreground(image, kind))
    assert torch.equal(*masks)


@pytest.mark.parametrize("kind", ["otsu", "grabcut"])
def test_images_of_a_batch_do_not_influence_each_other(kind: str) -> None:
    images = torch.stack([picture(disc(48, 0.3), BRIGHT, DARK), 0.1 * picture(disc(48, 0.2), DARK, BRIGHT)])
    alone = torch.cat([foreground(image.unsqueeze(0), kind) for image in images])
    assert torch.equal(foreground(images, kind), alone)


@pytest.mark.parametrize("kind", ["none", "otsu", "grabcut"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_masks_have_the_images_type(kind: str, dtype: torch.dtype) -> None:
    assert foreground(torch.rand(2, 3, 16, 31).to(dtype), kind).dtype == dtype


def test_everything_is_foreground() -> None:
    assert torch.equal(foreground(torch.rand(2, 3, 8, 9), "none"), torch.ones(2, 1, 8, 9))


@pytest.mark.parametrize("kind", ["otsu", "grabcut"])
@pytest.mark.parametrize("size", [(2, 2), (1000, 10), (32, 32)])
def test_everything_is_foreground_where_no_object_is_found(kind: str, size: tuple[int, int]) -> None:
    assert torch.equal(foreground(torch.ones(1, 3, *size), kind), torch.ones(1, 1, *size))


def test_unknown_kind() -> None:
    with pytest.raises(ValueError, match=r"foreground must be 'none', 'otsu' or 'grabcut', got 'edges'"):
        foreground(torch.rand(1, 3, 8, 8), "edges")
