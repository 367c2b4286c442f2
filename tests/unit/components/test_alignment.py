# SPDX-License-Identifier: Apache-2.0
"""Shifts of images are found, and images that cannot be registered are left as they are."""

import pytest
import torch

from rd_plugin.components import Alignment

from ...moved_parts import SIDE, parts, view


@pytest.fixture(scope="module")
def alignment() -> Alignment:
    made = Alignment((SIDE, SIDE))
    assert not made.is_fitted
    images = torch.cat(
        [
            view(image, *place)
            for image, place in zip(parts(20).split(1), torch.rand(20, 2).sub(0.5).tolist(), strict=True)
        ]
    )
    assert made.fit(made.reduce(images)).all()
    assert made.is_fitted
    return made


@pytest.mark.parametrize(("down", "right"), [(0, 0), (3, -5), (-7.5, 2.25), (10.6, 9.4)])
def test_known_shifts(alignment: Alignment, down: float, right: float) -> None:
    found = alignment(view(parts(4, seed=1), down, right))
    assert found.registered.all()
    centre = alignment(view(parts(4, seed=1))).shift
    torch.testing.assert_close(
        found.shift - centre, torch.tensor([[float(down), right]]).expand(4, 2), rtol=0, atol=0.25
    )


def test_sides_of_other_lengths() -> None:
    size = (96, 200)
    made = Alignment(size)
    assert made.fit(made.reduce(view(parts(10, size=size)))).all()
    found = made(view(parts(3, seed=1, size=size), -4, 12))
    torch.testing.assert_close(found.shift, torch.tensor([[-4.0, 12.0]]).expand(3, 2), rtol=0, atol=0.3)


def test_packed(alignment: Alignment) -> None:
    packed = alignment(view(parts(1), 4, 8)).packed((SIDE, SIDE))
    assert packed[0, 0] == 1
    assert packed[0, 1] > 0.9
    torch.testing.assert_close(SIDE * packed[:, 2:], torch.tensor([[8.0, 4.0]]), rtol=0, atol=0.5)


def test_brightness_and_contrast_do_not_matter(alignment: Alignment) -> None:
    images = view(parts(2), 5, 5)
    first, second = alignment(images), alignment(0.3 * images + 2)
    torch.testing.assert_close(first.shift, second.shift, rtol=0, atol=1e-2)
    torch.testing.assert_close(first.correlation, second.correlation, rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", ["flat", "black", "nan", "turned", "noise", "too far"])
def test_what_cannot_be_registered_stays(alignment: Alignment, kind: str) -> None:
    images = view(parts(2))
    changed = {
        "flat": torch.full_like(images, 0.7),
        "black": torch.zeros_like(images),
        "nan": torch.where(torch.rand(images.shape) > 0.999, torch.nan, images),
        "turned": images.rot90(1, (2, 3)),
        "noise": torch.rand(images.shape, generator=torch.Generator().manual_seed(0)),
        "too far": view(parts(2), 30, 0),
    }[kind]
    found = alignment(changed)
    assert not found.registered.any()
    assert not found.shift.any()
    aligned = alignment.aligned(changed, found)
    assert torch.equal(aligned.nan_to_num(9), changed.nan_to_num(9))
    values = changed[:, :1]
    assert torch.equal(alignment.returned(values, found).nan_to_num(9), values.nan_to_num(9))


def test_one_bad_image_does_not_move_others(alignment: Alignment) -> None:
    images = view(parts(2), 5, 5)
    images[0] = torch.nan
    found = alignment(images)
    assert found.registered.flatten().tolist() == [False, True]
    assert alignment.aligned(images, found)[1].isfinite().all()


def test_aligned_images_are_alike_and_maps_come_back(alignment: Alignment) -> None:
    canvas = parts(1)
    usual, moved = view(canvas), view(canvas, 8, -6)
    found = alignment(moved)
    aligned = alignment.aligned(moved, found)
    inner = (..., slice(10, -10), slice(10, -10))
    assert (aligned - usual)[inner].abs().mean() < 0.3 * (moved - usual)[inner].abs().mean()
    # A defect of the map of the aligned image, at row 40 and column 50.
    marks = torch.zeros(1, 1, SIDE, SIDE)
    marks[..., 40, 50] = 1
    back = alignment.returned(marks, found)
    row, column = divmod(int(back.flatten().argmax()), SIDE)
    assert (row, column) == (48, 44)


def test_what_comes_in_from_outside_is_not_seen(alignment: Alignment) -> None:
    found = alignment(view(parts(1), 8, -6))
    seen = alignment.seen(found.shift.round(), (SIDE, SIDE))[0, 0]
    assert seen[: SIDE - 8, 6:].all()
    assert not seen[SIDE - 8 :].any()
    assert not seen[:, :6].any()
    beside = alignment.seen(found.shift.round(), (SIDE, SIDE), reach=28)[0, 0]
    assert beside[: SIDE - 8 - 28, 6 + 24 :].all()
    assert not beside[SIDE - 8 - 28 :].any()
    assert not beside[:, : 6 + 24].any()
    assert alignment.seen(torch.tensor([[0.4, -0.4]]), (SIDE, SIDE), reach=28).all()
    back = alignment.returned(torch.rand(1, 1, SIDE, SIDE) + 1, found)[0, 0]
    # The file's first rows and last columns hold what no network saw.
    assert back[:7].unique().numel() == back[:, -5:].unique().numel() == 1
    assert back.min() == back[0, 0]


def test_two_layouts() -> None:
    first, second = view(parts(12)), view(parts(6, seed=2).flip(2))
    made = Alignment((SIDE, SIDE))
    assert made.fit(made.reduce(torch.cat([first, second]))).all()
    assert made(view(parts(2), 6, 0)).registered.all()
    found, usual = made(view(parts(2, seed=3).flip(2), 0, 6)), made(view(parts(2, seed=3).flip(2)))
    torch.testing.assert_close(found.shift - usual.shift, torch.tensor([[0.0, 6.0]]).expand(2, 2), rtol=0, atol=0.3)


def test_state_is_restored(alignment: Alignment) -> None:
    again = Alignment((SIDE, SIDE))
    again.load_state_dict(alignment.state_dict())
    assert again.is_fitted
    images = view(parts(2), 3, 4)
    assert torch.equal(again(images).shift, alignment(images).shift)


def test_another_size_forgets(alignment: Alignment) -> None:
    again = Alignment((SIDE, SIDE))
    again.load_state_dict(alignment.state_dict())
    again.set_size((SIDE, SIDE))
    assert again.is_fitted
    again.set_size((SIDE, SIDE // 2))
    assert not again.is_fitted
