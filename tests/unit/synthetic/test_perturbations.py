# SPDX-License-Identifier: Apache-2.0
import torch

from rd_plugin.synthetic import change_brightness, perturb


def parts() -> torch.Tensor:
    torch.manual_seed(0)
    images = torch.full((8, 3, 64, 64), 0.3)
    images[..., 16:48, 16:48] = 0.6
    return images + 0.05 * torch.rand(8, 1, 64, 64)


def test_each_condition_changes_each_image_a_little() -> None:
    images = parts()
    changed = perturb(images).unflatten(0, (7, 8))
    assert changed.amin() >= 0
    assert changed.amax() <= 1
    error = (changed - images).abs().mean((2, 3, 4))
    assert (error > 0).float().mean() > 0.95
    assert error.max() < 0.15
    # Each by an amount of its own.
    assert (error.std(1) > 0).all()


def test_light_is_one_factor_for_each_image() -> None:
    images = parts()
    factors = change_brightness(images) / images
    assert factors.amin() > 0.8
    assert factors.amax() < 1.2
    torch.testing.assert_close(factors, factors[:, :1, :1, :1].expand_as(factors))


def test_shift_keeps_the_image_but_for_its_place() -> None:
    images = torch.zeros(20, 3, 64, 64)
    images[..., 30, 30] = 1
    shifted = perturb(images)[60:80]
    assert shifted.sum().item() == 60
    rows = shifted[:, 0].amax(2).argmax(1)
    assert set(rows.tolist()) == {29, 30, 31}


def test_noise_is_that_of_a_grey_camera_and_of_one_for_colours() -> None:
    grey, coloured = (perturb(parts())[32:48] - parts().repeat(2, 1, 1, 1)).split(8)
    torch.testing.assert_close(grey[:, :1].expand_as(grey), grey, atol=1e-6, rtol=0)
    for noise in coloured:
        assert torch.corrcoef(noise.flatten(1)).triu(1).abs().max() < 0.1


def test_the_same_seed_gives_the_same_changes_at_any_size() -> None:
    torch.manual_seed(3)
    first = perturb(torch.rand(1, 3, 40, 24, generator=torch.Generator().manual_seed(0)))
    torch.manual_seed(3)
    second = perturb(torch.rand(1, 3, 40, 24, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(first, second)
