# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import Tensor

from rd_plugin.components import held_back
from rd_plugin.models import FusedReverseDistillationModel, ReverseDistillationModel
from rd_plugin.models.reverse_distillation.loss import CosineLoss

from ..base import ONE_BACKBONE, TorchModelTests


def taught(images: Tensor, **arguments: object) -> FusedReverseDistillationModel:
    """A model that has seen good images of shape (N, 3, H, W)."""
    model = FusedReverseDistillationModel("resnet18", pre_trained=False, **arguments).eval()
    with torch.no_grad():
        model.light.learn(model.light.levels(images))
        model.light.strength.fill_(1)
        model.evidence.update(*model.distill(model.tiles(images)), held_back(range(len(images))))
        model.evidence.finish()
        model.evidence.include_held_back()
    return model


class TestFusedReverseDistillationModel(TorchModelTests):
    network = FusedReverseDistillationModel

    # Its networks are those of reverse distillation, which goes through all of them.
    @pytest.fixture(scope="class", params=ONE_BACKBONE)
    @classmethod
    def model(cls, request: pytest.FixtureRequest) -> FusedReverseDistillationModel:
        torch.manual_seed(0)
        return cls.build(request.param)

    def learn(self, model: FusedReverseDistillationModel, images: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        teacher, student = model(images)
        return CosineLoss()(teacher, student), teacher, student


@torch.no_grad()
def test_plain_reverse_distillation_before_it_has_learned() -> None:
    fused = FusedReverseDistillationModel("resnet18", pre_trained=False).eval()
    plain = ReverseDistillationModel("resnet18", pre_trained=False).eval()
    plain.load_state_dict({name: value for name, value in fused.state_dict().items() if name in plain.state_dict()})
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(fused(images).anomaly_map, plain(images).anomaly_map)


@torch.no_grad()
def test_map_is_that_of_the_evidence_and_survives_a_checkpoint() -> None:
    torch.manual_seed(0)
    good = torch.randn(8, 3, 64, 64)
    model = taught(good)
    images = torch.randn(2, 3, 64, 64)
    teacher, student = model.distill(model.tiles(images))
    distances = [model.evidence.teacher, model.evidence.residual]
    assert [part.mean.shape for part in distances] == [(16, 1, 256)] * 2  # 448 channels, projected
    evidence = model.evidence(teacher, student)
    expected = (0.4 * evidence[:, 0] + 0.4 * evidence[:, 1] + 0.2 * evidence[:, 2]).sqrt()
    torch.testing.assert_close(model.deviations(model.tiles(images)), [expected])
    other = FusedReverseDistillationModel("resnet18", pre_trained=False).eval()
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(images).anomaly_map, model(images).anomaly_map)
    with pytest.raises(ValueError, match="images must have one size"):
        model(torch.randn(1, 3, 96, 96))


@torch.no_grad()
def test_unusual_images_have_higher_maps_and_light_is_none_of_it() -> None:
    torch.manual_seed(0)
    light = torch.linspace(0.8, 1.2, 12).view(-1, 1, 1, 1)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    raw = 0.4 + 0.05 * torch.randn(12, 3, 64, 64)
    model = taught((raw * light - mean) / std)
    fresh = 0.4 + 0.05 * torch.randn(1, 3, 64, 64)
    scores = [model((fresh * gain - mean) / std).pred_score.item() for gain in (0.85, 1, 1.15)]
    assert max(scores) - min(scores) < 1e-3 * min(scores)
    fresh[..., 20:40, 20:40] = 0.9
    assert model((fresh - mean) / std).pred_score.item() > 1.2 * max(scores)
