# SPDX-License-Identifier: Apache-2.0
import torch

from rd_plugin.models.revisited_reverse_distillation.loss import ProjectionLoss
from rd_plugin.models.revisited_reverse_distillation.transport import map_transport


def features(*shapes: tuple) -> list[torch.Tensor]:
    return [torch.randn(shape) for shape in shapes]


def test_terms() -> None:
    torch.manual_seed(0)
    (projected,) = features((2, 4, 3, 3))
    # Nothing to reconstruct, and a cosine of one to the twin's.
    torch.testing.assert_close(ProjectionLoss()([projected], [projected], [projected]), torch.tensor(0.1 * 0.5 / 1.11))
    # Opposite to both: no contrast, and the cosine is minus one.
    torch.testing.assert_close(ProjectionLoss()([projected], [-projected], [-projected]), torch.tensor(0.02 / 1.11))


def test_loss_is_the_sum_of_its_scales() -> None:
    shapes = ((2, 4, 6, 6), (2, 8, 3, 3))
    arguments = features(*shapes), features(*shapes), features(*shapes)
    scales = ProjectionLoss().scales(*arguments)
    assert len(scales) == 2
    torch.testing.assert_close(ProjectionLoss()(*arguments), scales[0] + scales[1])


def test_optimal_transport_adds_its_term() -> None:
    torch.manual_seed(0)
    projected, twins, noisy = (torch.randn(3, 4, 8, 8) for _ in range(3))
    projected.requires_grad_()
    plain, whole = (ProjectionLoss(wanted)([projected], [twins], [noisy]) for wanted in (False, True))
    transport = map_transport(projected, projected.roll(1, dims=0)).mean()
    assert transport > 0
    torch.testing.assert_close(whole, plain + transport / 1.11)
    gradient = torch.autograd.grad(whole - plain, projected)[0]
    assert gradient.abs().max() > 0
    # A single image has nobody to be compared with.
    alone = [projected[:1]], [twins[:1]], [noisy[:1]]
    torch.testing.assert_close(ProjectionLoss(True)(*alone), ProjectionLoss(False)(*alone))  # noqa: FBT003
