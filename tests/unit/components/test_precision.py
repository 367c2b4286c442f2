# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from rd_plugin.components.precision import full_precision, widened


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_features_are_widened_to_single_precision(given: torch.dtype, expected: torch.dtype) -> None:
    features = torch.tensor([1.5], dtype=given)
    assert widened(features).dtype == expected
    assert widened(features).item() == 1.5


@pytest.mark.parametrize("autocast", [True, False])
def test_products_keep_their_precision(autocast: bool) -> None:
    factors = torch.ones(1, 1)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        assert (factors @ factors).dtype == (torch.bfloat16 if autocast else torch.float32)
        with full_precision(factors.device):
            assert (factors @ factors).dtype == torch.float32
