# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from torch import Tensor

from rd_plugin.models.fused_reverse_distillation.brightness import BrightnessNormalization


def grey(*levels: float) -> Tensor:
    pattern = 1 + 0.2 * torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return pattern / pattern.mean() * torch.tensor(levels).view(-1, 1, 1, 1)


def raw_light(strength: float) -> BrightnessNormalization:
    light = BrightnessNormalization(mean=(0, 0, 0), std=(1, 1, 1))
    light.fit(light.levels(grey(0.3, 0.4, 0.5)))
    light.strength.fill_(strength)
    return light


def test_factor_leads_to_the_usual_brightness() -> None:
    usual = (0.3 * 0.4 * 0.5) ** (1 / 3)
    even = raw_light(1)(grey(0.3, 0.4, 0.5))
    assert even.mean((1, 2, 3)).tolist() == pytest.approx([usual] * 3)
    torch.testing.assert_close(even[0], even[2])
    half = raw_light(0.5)(grey(0.3))
    assert half.mean().item() == pytest.approx(math.sqrt(0.3 * usual))


def test_normalization_is_seen_through() -> None:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    light = BrightnessNormalization()
    light.fit(light.levels((grey(0.3, 0.4, 0.5) - mean) / std))
    light.strength.fill_(1)
    expected = raw_light(1)(grey(0.35))
    torch.testing.assert_close(light((grey(0.35) - mean) / std) * std + mean, expected)


def test_image_far_darker_than_normal_ones_stays_dark() -> None:
    light = raw_light(1)
    limit = 3 * light.levels(grey(0.3, 0.4, 0.5)).std(correction=0).item() + math.log(1.25)
    assert light(grey(0.05)).mean().item() == pytest.approx(0.05 * math.exp(limit))
    assert light(torch.zeros(1, 3, 16, 16)).abs().max() == 0


def test_nothing_is_changed_before_it_is_fitted_or_at_strength_0() -> None:
    images = torch.randn(2, 3, 16, 16)
    assert not BrightnessNormalization().is_fitted
    assert torch.equal(BrightnessNormalization()(images), images)
    assert raw_light(0).is_fitted
    assert torch.equal(raw_light(0)(images), images)


def test_images_with_nan_do_not_spoil_the_others() -> None:
    images = grey(0.3, 0.4, 0.5)
    light = BrightnessNormalization(mean=(0, 0, 0), std=(1, 1, 1))
    light.fit(light.levels(torch.cat([images, images[:1] * torch.nan])))
    assert light.reference == raw_light(1).reference
