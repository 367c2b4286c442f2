# SPDX-License-Identifier: Apache-2.0
"""Fused reverse distillation with a plain vision transformer as the teacher."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from rd_plugin import FusedReverseDistillation
from rd_plugin.models import FusedReverseDistillationModel
from rd_plugin.models.fused_reverse_distillation.evidence import Evidence

from ..base import SlowCacheTests
from ..vit import TINY, VIT, DinomalyModelTests, ViTTests
from .test_lightning_model import fit, good


class TestFusedModelOfAViT(DinomalyModelTests):
    network = FusedReverseDistillationModel

    def learn(self, model: FusedReverseDistillationModel, images: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        teacher, student = model(images)
        teacher = teacher[: len(student)]
        return self.loss(teacher, student), teacher, student


class TestFusedViT(SlowCacheTests, ViTTests):
    method = FusedReverseDistillation
    limits = (-1, 400)


def test_all_kinds_of_evidence_are_fitted_and_restored(tmp_path: Path) -> None:
    validation = torch.rand(2, 3, 64, 64), torch.tensor([False, True])
    model = fit(tmp_path, good(), *validation, **VIT)
    network = model.model.eval()
    assert sum(network.fusion.weights.tolist()) == pytest.approx(1)
    # Means and deviations of two groups of 64 channels, and the class token of each.
    assert network.evidence.image.projection.shape[0] == 2 * 128 + 128
    again = FusedReverseDistillation(**VIT, image_size=64)
    again.model.load_state_dict(network.state_dict())
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected, actual = network(images), again.model.eval()(images)
        # An anomaly that class tokens alone show counts.
        teacher, student = network.distill(network.network_inputs(images))
        evidence = network.evidence(teacher, student)
        teacher[-1] = teacher[-1] + 5
        changed = network.evidence(teacher, student)
    torch.testing.assert_close(actual.anomaly_map, expected.anomaly_map)
    torch.testing.assert_close(actual.pred_score, expected.pred_score)
    image = network.evidence.kinds.index("image")
    assert (changed[:, image] > evidence[:, image]).all()
    assert torch.equal(changed[:, :image], evidence[:, :image])


@pytest.mark.parametrize("side", [28, 37, 70])
def test_memory_of_the_statistics_is_bounded(side: int) -> None:
    """Whatever the teacher's width and the images' size: 256 blocks of 256 x 256 numbers, 34 MB, in half precision."""
    evidence = Evidence([768, 768], one_grid=True, class_channels=1536)
    teacher = [torch.randn(4, 768, side, side) for _ in range(2)] + [torch.randn(4, 768, 2, 5)]
    student = [torch.randn(4, 768, side, side) for _ in range(2)]
    for name, features in evidence._features(teacher, student).items():
        gaussians: nn.Module = evidence.gaussians[name]
        positions, _, channels = gaussians.vectors(features).shape
        assert channels <= 256
        assert positions / gaussians.block**2 <= 256, name


def test_arguments_that_the_fusion_decides() -> None:
    with pytest.raises(ValueError, match="map_size 128: this model fuses all evidence itself"):
        FusedReverseDistillation(TINY, pre_trained=False, map_size=128)
