# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import Tensor

from rd_plugin.models.fused_reverse_distillation.fusion import Fusion

USUAL = [0.4, 0.4, 0.2]


def evidence(count: int, *shifts: float) -> Tensor:
    """Evidence (N, 3, 8, 8) of anomalies that each kind sees as clearly as given."""
    drawn = torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(count)) + 5
    drawn[:, :, 3, 3] += torch.tensor(shifts) if shifts else 0
    return drawn * torch.tensor([1.0, 10.0, 0.1]).view(3, 1, 1)


def learned(*shifts: float) -> Fusion:
    fusion = Fusion(3)
    fusion.learn(evidence(40), torch.stack([evidence(40, *shifts), evidence(40, *shifts).flip(0)]))
    return fusion


def test_usual_weights_where_twins_do_not_tell() -> None:
    assert learned(0, 0, 0).weights.tolist() == pytest.approx(USUAL)
    assert learned(9, 9, 9).weights.tolist() == pytest.approx(USUAL)


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_weight_for_what_alone_sees_them(kind: int) -> None:
    weights = learned(*[3.5 if kind == other else 0 for other in range(3)]).weights
    assert weights.argmax() == kind
    assert weights[kind] >= 0.75
    assert weights.sum() == pytest.approx(1)
    assert weights.min() >= 0


def test_scale_is_the_deviation_on_good_images() -> None:
    assert learned(0, 0, 0).scale.tolist() == pytest.approx([1, 10, 0.1], rel=0.1)


def test_map_is_the_root_of_the_weighted_sum() -> None:
    fusion = Fusion(3)
    assert fusion.weights.tolist() == pytest.approx(USUAL)
    fusion.scale = torch.tensor([1.0, 2.0, 4.0])
    found = fusion(torch.tensor([1.0, 4.0, 8.0]).view(1, 3, 1, 1))
    assert found.item() == pytest.approx((0.4 * 1 + 0.4 * 2 + 0.2 * 2) ** 0.5)
