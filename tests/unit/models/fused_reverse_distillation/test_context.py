# SPDX-License-Identifier: Apache-2.0
import torch

from rd_plugin.models.fused_reverse_distillation.context import Context


def test_only_what_pictures_have_in_common_is_taken_out() -> None:
    torch.manual_seed(0)
    pattern = torch.randn(1, 4, 6, 6)
    context = Context()
    context.fit(torch.randn(60, 1, 1, 1) * pattern + 0.01 * torch.randn(60, 4, 6, 6))
    assert context(5 * pattern).abs().max() < 0.2
    spot = torch.zeros(1, 4, 6, 6)
    spot[..., 2, 3] = 1
    left = context(spot).abs().sum(1)[0]
    assert left.flatten().argmax() == 2 * 6 + 3
    assert left[2, 3] > 0.8 * (spot / context.scale).abs().sum()


def test_few_images_that_do_not_vary_explain_nothing() -> None:
    context = Context()
    context.fit(torch.ones(2, 4, 3, 3))
    torch.testing.assert_close(context(torch.full((1, 4, 3, 3), 3.0)), torch.full((1, 4, 3, 3), 2.0))
    assert context.components.shape == (36, 1)


def test_fit_takes_nothing_from_the_random_numbers_of_the_training() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    Context().fit(torch.ones(9, 2, 4, 4) * torch.arange(9).view(-1, 1, 1, 1))
    assert torch.rand(1) == expected
