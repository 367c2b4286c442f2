# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import Tensor

from rd_plugin.components import Pyramid, Stage, build_bottleneck


def pyramid(distilled: tuple[str, ...] = ("fine", "middle", "coarse")) -> Pyramid:
    stages = (Stage("fine", 4, 4), Stage("middle", 6, 8), Stage("coarse", 10, 16))
    return Pyramid(stages, distilled, Stage("embedding", 12, 32))


def features(plan: Pyramid, coarsest: tuple[int, int]) -> list[Tensor]:
    """Features of the distilled stages, as a backbone gives them that rounds odd grids up."""
    factors = [plan.stages[-1].stride // stage.stride for stage in plan.targets]
    return [
        torch.randn(2, stage.channels, *(factor * length for length in coarsest))
        for stage, factor in zip(plan.targets, factors, strict=True)
    ]


@pytest.mark.parametrize("kind", ["mff_oce", "oce"])
@pytest.mark.parametrize("distilled", [("fine", "middle", "coarse"), ("fine", "coarse"), ("coarse",)])
@pytest.mark.parametrize(("coarsest", "expected"), [((4, 6), (2, 3)), ((3, 5), (2, 3)), ((1, 1), (1, 1))])
def test_embedding_has_half_the_coarsest_grid(
    kind: str,
    distilled: tuple[str, ...],
    coarsest: tuple[int, int],
    expected: tuple[int, int],
) -> None:
    plan = pyramid(distilled)
    embedding = build_bottleneck(kind, plan)(features(plan, coarsest))
    assert embedding.shape == (2, 12, *expected)


@pytest.mark.parametrize(("kind", "used"), [("mff_oce", [True, True, True]), ("oce", [False, False, True])])
def test_which_scales_are_embedded(kind: str, used: list[bool]) -> None:
    plan = pyramid()
    inputs = features(plan, (4, 4))
    bottleneck = build_bottleneck(kind, plan).eval()
    before = bottleneck(inputs)
    for index, expected in enumerate(used):
        changed = [torch.randn_like(f) if i == index else f for i, f in enumerate(inputs)]
        assert torch.equal(bottleneck(changed), before) != expected


def test_the_teachers_own_next_stage() -> None:
    bottleneck = build_bottleneck("none", pyramid())
    inputs = [*features(pyramid(), (4, 4)), torch.randn(2, 12, 2, 2)]
    assert bottleneck(inputs) is inputs[-1]
    assert not list(bottleneck.parameters())


def test_unknown_kind() -> None:
    with pytest.raises(ValueError, match=r"bottleneck must be 'mff_oce', 'oce' or 'none', got 'mff'"):
        build_bottleneck("mff", pyramid())
