# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import Tensor

from rd_plugin.components import held_back
from rd_plugin.models import FusedReverseDistillationModel, ReverseDistillationModel
from rd_plugin.models.fused_reverse_distillation.evidence import Evidence
from rd_plugin.models.reverse_distillation.loss import CosineLoss

from ..base import ONE_BACKBONE, TorchModelTests


def taught(images: Tensor, **arguments: object) -> FusedReverseDistillationModel:
    """A model that has seen good images of shape (N, 3, H, W)."""
    model = FusedReverseDistillationModel("resnet18", pre_trained=False, **arguments).eval()
    with torch.no_grad():
        model.light.learn(model.light.levels(images))
        model.light.strength.fill_(1)
        features = model.distill(model.network_inputs(images))
        model.evidence.update(*features, held_back(range(len(features[0][0]))))
        model.evidence.finish()
        model.fusion.learn(model.evidence(*features)[3::4])
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
    teacher, student = model.distill(model.network_inputs(images))
    # 448 channels, projected.
    shapes = {"teacher": (16, 1, 256), "region": (4, 1, 256), "residual": (16, 1, 256), "image": (1, 1, 256)}
    assert {name: part.mean.shape for name, part in model.evidence.gaussians.items()} == shapes
    evidence = model.evidence(teacher, student)
    assert evidence.shape == (2, 5, 4, 4)
    weighted = model.fusion.weights.view(5, 1, 1) * evidence
    torch.testing.assert_close(model.deviations(model.network_inputs(images)), [weighted[:, :4].sum(1).sqrt()])
    # The image as a whole has no place in the map, and joins it in the score.
    found = model(images)
    expected = (found.anomaly_map.amax((1, 2, 3)).square() + weighted[:, 4, 0, 0]).sqrt()
    torch.testing.assert_close(found.pred_score[:, 0], expected)
    other = FusedReverseDistillationModel("resnet18", pre_trained=False).eval()
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(images).anomaly_map, model(images).anomaly_map)
    with pytest.raises(ValueError, match="images must have one size"):
        model(torch.randn(1, 3, 96, 96))


@torch.no_grad()
def test_of_tiles_the_most_unusual_as_a_whole_counts() -> None:
    torch.manual_seed(0)
    model = taught(torch.randn(8, 3, 64, 96), tile_size=64, tile_overlap=32)
    model.light.strength.fill_(0)
    images = torch.randn(3, 3, 64, 96)
    tiles = model.network_inputs(images)
    assert tiles.shape == (6, 3, 64, 64)
    whole = model.fusion.weights[-1] * model.evidence(*model.distill(tiles))[:, -1, 0, 0].view(3, 2).amax(1)
    found = model(images)
    torch.testing.assert_close(found.pred_score[:, 0], (found.anomaly_map.amax((1, 2, 3)).square() + whole).sqrt())


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


@torch.no_grad()
def test_image_evidence_knows_nothing_of_where_a_part_lies() -> None:
    torch.manual_seed(0)
    model = taught(torch.randn(8, 3, 64, 64))
    scales = [torch.randn(2, channels, side, side) for channels, side in ((64, 16), (128, 8), (256, 4))]
    turned = [scale.rot90(1, (2, 3)).flip(2) for scale in scales]
    found, anyhow = (model.evidence(part, part)[:, -1] for part in (scales, turned))
    torch.testing.assert_close(found, anyhow)
    assert (found == found[:, :1, :1]).all()
    assert found[0, 0, 0] != found[1, 0, 0]


@torch.no_grad()
def test_faint_defects_larger_than_a_position_stand_out_in_their_region() -> None:
    torch.manual_seed(0)
    good = [torch.randn(200, 8, 8, 8)]
    evidence = Evidence([8])
    evidence.update(good, good, held_back(range(200)))
    evidence.finish()
    evidence.include_held_back()
    faint = [torch.randn(100, 8, 8, 8)]
    faint[0][:, :, 4:, 4:] += 1
    teacher, region = evidence(faint, faint)[:, :2].mean(0)
    within, without = (slice(6, None), slice(6, None)), (slice(2), slice(2))
    assert region[within].mean() / region[without].mean() > 1.5 * teacher[within].mean() / teacher[without].mean()
    # Between the centres of regions it falls off.
    assert region[7, 5] > region[7, 4] > region[7, 3] > region[7, 2]


@torch.no_grad()
def test_grids_of_an_odd_number_of_positions_have_regions_too() -> None:
    features = [torch.randn(8, 8, 7, 1)]
    evidence = Evidence([8])
    evidence.update(features, features, held_back(range(8)))
    evidence.finish()
    assert evidence.region.mean.shape == (4, 1, 8)
    assert evidence(features, features).shape == (8, 5, 7, 1)


@torch.no_grad()
def test_conditions_that_were_shown_are_usual() -> None:
    torch.manual_seed(0)
    good = [torch.randn(40, channels, side, side) for channels, side in ((8, 8), (16, 4))]
    there = [torch.randn(1, channels, 1, 1) for channels in (8, 16)]
    moved = [scale + 3 * torch.randn(40, 1, 1, 1) * way for scale, way in zip(good, there, strict=True)]
    known, unknown = Evidence([8, 16]), Evidence([8, 16])
    student = [torch.randn_like(scale) for scale in good]
    for evidence in (known, unknown):
        evidence.update(good, student, held_back(range(40)))
        if evidence is known:
            both = [torch.cat(pair) for pair in zip(good, moved, strict=True)]
            evidence.update_conditions(both, [torch.cat([s, s]) for s in student], 40)
        evidence.finish()
        evidence.include_held_back()
    before, after = (unknown(moved, student), known(moved, student))
    for kind in (0, 1, 4):
        assert after[:, kind].mean() < before[:, kind].mean() / 2
