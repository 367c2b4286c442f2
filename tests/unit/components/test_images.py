# SPDX-License-Identifier: Apache-2.0
import math
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import pytest
import torch
from anomalib.data import InferenceBatch
from torch import Tensor

from rd_plugin.components import FINITE_RANGE, RAW_RANGE, check_images, check_range, in_range, mask_invalid

HALF = 0.5 / 255


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((1, 3, 8, 8)), TypeError, r"images must be a torch.Tensor of shape \(N, 3, H, W\), got ndarray"),
        (torch.rand(3, 8, 8), ValueError, r"shape \(N, 3, H, W\), each at least 1, got \(3, 8, 8\)"),
        (torch.rand(2, 1, 8, 8), ValueError, r"got \(2, 1, 8, 8\): .* a grey image three equal channels"),
        (torch.rand(2, 4, 8, 8), ValueError, r"got \(2, 4, 8, 8\)"),
        (torch.rand(2, 8, 8, 3), ValueError, r"got \(2, 8, 8, 3\)"),
        (torch.rand(0, 3, 8, 8), ValueError, r"got \(0, 3, 8, 8\)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), TypeError, "float32, got torch.uint8: .* 0 to 255 by 255"),
        (torch.rand(1, 3, 8, 8).double(), TypeError, r"weights are, got torch.float64: .* by .to\(torch.float32\)"),
        (torch.rand(1, 3, 8, 8).half(), TypeError, "weights are, got torch.float16"),
    ],
)
def test_other_types_and_shapes(images: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        check_images(images, torch.float32)


@pytest.mark.parametrize(
    ("images", "context"),
    [
        (torch.rand(1, 3, 1, 9), nullcontext()),
        (torch.rand(1, 3, 8, 8).bfloat16(), torch.autocast("cpu", dtype=torch.bfloat16)),
    ],
)
def test_images_that_are_accepted(images: Tensor, context: AbstractContextManager) -> None:
    with context:
        check_images(images, torch.float32)


VALUES = [0.0, 1.0, -0.9 * HALF, 1 + 0.9 * HALF, -1.1 * HALF, 1 + 1.1 * HALF, math.inf, -math.inf, math.nan]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_range(value: float, dtype: torch.dtype) -> None:
    images = torch.rand(3, 3, 4, 5, dtype=dtype)
    images[1, 2, 3, 4] = value
    inside = -HALF < value < 1 + HALF
    assert in_range(images, RAW_RANGE).flatten().tolist() == [True, inside, True]
    assert in_range(images, FINITE_RANGE).flatten().tolist() == [True, math.isfinite(value), True]
    with nullcontext() if inside or math.isnan(value) else pytest.raises(ValueError, match=r"\[0, 1\], got .* to"):
        check_range(images, RAW_RANGE)


def test_bytes_beside_nan_are_found() -> None:
    images = torch.tensor([0, 255, torch.nan])
    with pytest.raises(ValueError, match=r"images must have values in \[0, 1\], got 0 to 255"):
        check_range(images, RAW_RANGE)


def test_nothing_is_checked_while_a_graph_is_traced() -> None:
    class Checked(torch.nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            check_images(images, torch.float64)
            check_range(images, RAW_RANGE)
            return images + in_range(images, RAW_RANGE)[..., None, None]

    program = torch.export.export(Checked(), (torch.full((2, 3, 8, 8), 7.0),))
    assert (program.module()(torch.full((2, 3, 8, 8), 0.5)) == 1.5).all()


def test_predictions_are_withheld_of_some_images_only() -> None:
    maps, scores = torch.rand(3, 1, 4, 5), torch.rand(3, 1)
    valid = torch.tensor([True, False, True])
    result = mask_invalid(InferenceBatch(scores, scores > 2, maps, None), valid[:, None])
    assert torch.equal(result.pred_score[valid], scores[valid])
    assert torch.equal(result.anomaly_map[valid], maps[valid])
    assert result.pred_score[1].isnan().all()
    assert result.anomaly_map[1].isnan().all()
    assert result.pred_label.flatten().tolist() == [False, True, False]
    assert result.pred_mask is None
