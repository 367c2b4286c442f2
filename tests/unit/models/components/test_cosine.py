# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from rd_plugin.models.components import cosine_deviation


def test_value() -> None:
    first, second = torch.randn(2, 5, 4, 3), torch.randn(2, 5, 4, 3)
    torch.testing.assert_close(cosine_deviation(first, second), 1 - F.cosine_similarity(first, second, dim=1))


def test_zero_features_deviate_by_one() -> None:
    assert torch.equal(cosine_deviation(torch.zeros(1, 3, 2, 2), torch.randn(1, 3, 2, 2)), torch.ones(1, 2, 2))


def test_zero_features_give_no_infinite_gradient() -> None:
    student = torch.zeros(1, 3, 2, 2, requires_grad=True)
    cosine_deviation(torch.randn(1, 3, 2, 2), student).sum().backward()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_features_are_compared_in_single(dtype: torch.dtype) -> None:
    first, second = torch.randn(1, 64, 3, 3).to(dtype), torch.randn(1, 64, 3, 3).to(dtype)
    deviation = cosine_deviation(first, second)
    assert deviation.dtype == torch.float32
    torch.testing.assert_close(deviation, cosine_deviation(first.float(), second.float()))
