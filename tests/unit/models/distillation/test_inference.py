# SPDX-License-Identifier: Apache-2.0
"""From an image to a prediction: check, pre-processor, network, post-processor."""

import pytest
import torch
from anomalib.data import InferenceBatch
from torch import Tensor, nn

from rd_plugin.models import ReverseDistillationModel
from rd_plugin.models.distillation.inference import predict


@pytest.fixture
def network() -> ReverseDistillationModel:
    return ReverseDistillationModel("test_efficientnet", pre_trained=False).eval()


class _Halved(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images / 2


class _Labelled(nn.Module):
    def forward(self, predictions: InferenceBatch) -> InferenceBatch:
        return predictions._replace(pred_label=predictions.pred_score < 0)


@torch.no_grad()
def test_steps_in_their_order(network: ReverseDistillationModel) -> None:
    images = torch.rand(2, 3, 32, 32)
    predictions = predict(images, _Halved(), network, _Labelled())
    assert torch.equal(predictions.pred_score, network(images / 2).pred_score)
    assert not predictions.pred_label.any()


@torch.no_grad()
def test_invalid_image_is_masked_after_the_post_processor(network: ReverseDistillationModel) -> None:
    images = torch.rand(2, 3, 32, 32)
    images[1, 0, 0, 0] = torch.nan
    predictions = predict(images, None, network, _Labelled())
    assert predictions.pred_score.isnan().flatten().tolist() == [False, True]
    assert predictions.pred_label.flatten().tolist() == [False, True]


@torch.no_grad()
def test_range_is_that_of_raw_images_only_with_a_pre_processor(network: ReverseDistillationModel) -> None:
    images = 3 * torch.ones(1, 3, 32, 32)
    with pytest.raises(ValueError, match=r"images must have values in \[0, 1\]"):
        predict(images, _Halved(), network, None)
    assert predict(images, None, network, None).pred_score.isfinite().all()
