# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from rd_plugin.components import cosine_deviation, flattened_deviation, mean_inside


def test_value() -> None:
    first, second = torch.randn(2, 5, 4, 3), torch.randn(2, 5, 4, 3)
    torch.testing.assert_close(cosine_deviation(first, second), 1 - F.cosine_similarity(first, second, dim=1))


def test_zero_features_deviate_by_one() -> None:
    assert torch.equal(cosine_deviation(torch.zeros(1, 3, 2, 2), torch.randn(1, 3, 2, 2)), torch.ones(1, 2, 2))


@pytest.mark.parametrize("deviation", [cosine_deviation, flattened_deviation])
def test_zero_features_give_no_infinite_gradient(deviation: Callable[[Tensor, Tensor], Tensor]) -> None:
    student = torch.zeros(1, 3, 2, 2, requires_grad=True)
    deviation(torch.randn(1, 3, 2, 2), student).sum().backward()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("deviation", [cosine_deviation, flattened_deviation])
def test_half_precision_is_compared_in_single(
    deviation: Callable[[Tensor, Tensor], Tensor], dtype: torch.dtype
) -> None:
    first = torch.randn(2, 64, 3, 3).to(dtype)
    second = (first + 0.01 * torch.randn(2, 64, 3, 3)).to(dtype)
    found = deviation(first, second)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, deviation(first.float(), second.float()))


def test_value_over_the_whole_map() -> None:
    first, second = torch.randn(2, 5, 4, 3), torch.randn(2, 5, 4, 3)
    expected = [1 - (a * b).sum() / (a.norm() * b.norm()) for a, b in zip(first, second, strict=True)]
    torch.testing.assert_close(flattened_deviation(first, second), torch.stack(expected))


def test_whole_map_weighs_positions_by_their_size() -> None:
    # Two positions: one agrees, the other is opposite and three times as large.
    first = torch.tensor([1.0, 3.0]).reshape(1, 1, 1, 2)
    second = torch.tensor([1.0, -3.0]).reshape(1, 1, 1, 2)
    torch.testing.assert_close(flattened_deviation(first, second), torch.tensor([1.8]))
    torch.testing.assert_close(cosine_deviation(first, second), torch.tensor([[[0.0, 2.0]]]))


def test_whole_map_gives_gradients_in_the_features_layout() -> None:
    """A gradient in another layout would be copied by the convolution that it goes back through."""
    teacher, student = torch.randn(2, 2, 8, 4, 4)
    contiguous = student.clone().requires_grad_()
    last = student.to(memory_format=torch.channels_last).requires_grad_()
    flattened_deviation(teacher, contiguous).sum().backward()
    flattened_deviation(teacher.to(memory_format=torch.channels_last), last).sum().backward()
    assert contiguous.grad.is_contiguous()
    assert last.grad.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(last.grad, contiguous.grad)


@pytest.mark.parametrize("deviation", [cosine_deviation, flattened_deviation])
def test_double_precision_is_kept(deviation: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert deviation(*torch.randn(2, 1, 4, 3, 3, dtype=torch.float64)).dtype == torch.float64


def test_mean_leaves_out_positions_without_features() -> None:
    features, values = torch.randn(3, 4, 5, 6), torch.rand(3, 5, 6)
    torch.testing.assert_close(mean_inside(values, features), values.mean())
    features[..., 2:] = 0
    torch.testing.assert_close(mean_inside(values, features), values[..., :2].mean())
