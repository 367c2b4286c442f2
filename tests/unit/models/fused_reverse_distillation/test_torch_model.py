# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import Tensor

from rd_plugin.components import held_out
from rd_plugin.models import FusedReverseDistillationModel, ReverseDistillationModel

from ..base import ONE_BACKBONE, TorchModelTests

# So narrow that their statistics are computed at once.
NARROW = {"backbone": "test_resnet", "layers": ["layer1", "layer2"]}
WIDE = {"backbone": "resnet18", "layers": None}


def fitted(images: Tensor, **arguments: object) -> FusedReverseDistillationModel:
    """A model that was fitted on normal images of shape (N, 3, H, W)."""
    model = FusedReverseDistillationModel(**{**NARROW, "pre_trained": False, **arguments}).eval()
    with torch.no_grad():
        model.brightness.fit(model.brightness.levels(model.within_roi(images)))
        model.brightness.strength.fill_(1)
        features = model.distill(model.network_inputs(images))
        count = len(features[0][0])
        model.evidence.update(*features, held_out(range(count)), torch.arange(count), count)
        model.evidence.fit_context(held_out(range(count)))
        model.evidence.compute()
        highest = model.find_evidence(*features).flatten(2).amax(2)
        model.fusion.fit(highest[3::4], 2 * highest[3::4])
        model.evidence.include_held_out()
    return model


class TestFusedReverseDistillationModel(TorchModelTests):
    network = FusedReverseDistillationModel
    # Its networks are those of reverse distillation, which goes through all of them.
    backbones = ONE_BACKBONE


@torch.no_grad()
def test_plain_reverse_distillation_before_it_is_fitted() -> None:
    fused = FusedReverseDistillationModel("test_resnet", pre_trained=False).eval()
    plain = ReverseDistillationModel("test_resnet", pre_trained=False).eval()
    plain.load_state_dict({name: value for name, value in fused.state_dict().items() if name in plain.state_dict()})
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(fused(images).anomaly_map, plain(images).anomaly_map)


@torch.no_grad()
def test_map_is_that_of_the_evidence_and_survives_a_checkpoint() -> None:
    torch.manual_seed(0)
    model = fitted(torch.randn(8, 3, 64, 64), **WIDE)
    images = torch.randn(2, 3, 64, 64)
    # 448 channels, projected; the coarsest grid has 4 x 4 positions, the middle one 8 x 8 in blocks of 2 x 2.
    shapes = {name: (part.mean.shape, len(part.whitening)) for name, part in model.evidence.gaussians.items()}
    assert shapes == {
        "teacher": ((64, 1, 256), 16),
        "region": ((4, 1, 256), 4),
        "residual": ((64, 1, 256), 16),
        "context": ((4, 1, 256), 4),
        "image": ((1, 1, 256), 1),
    }
    evidence = model.evidence(*model.distill(model.network_inputs(images)))
    assert evidence.shape == (2, 6, 8, 8)
    weighted = model.fusion.weights.view(6, 1, 1) * evidence
    # The image as a whole has no place in the map, and joins it in the score.
    found = model(images)
    torch.testing.assert_close(found.anomaly_map, model.anomaly_map([weighted[:, :5].sum(1).sqrt()], (64, 64)))
    expected = (found.anomaly_map.amax((1, 2, 3)).square() + weighted[:, 5, 0, 0]).sqrt()
    torch.testing.assert_close(found.pred_score[:, 0], expected)
    other = FusedReverseDistillationModel(**WIDE, pre_trained=False).eval()
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(images).anomaly_map, model(images).anomaly_map)
    with pytest.raises(ValueError, match="images must have the training size"):
        model(torch.randn(1, 3, 96, 96))


@torch.no_grad()
def test_only_the_students_error_is_compared_with_what_surrounds_it() -> None:
    torch.manual_seed(0)
    images = torch.randn(8, 3, 64, 64)
    model = fitted(images, **WIDE)
    features = model.distill(model.network_inputs(images))
    raw = model.find_evidence(*features)
    model.evidence.fit_contrast([(part, None) for part in raw.split(3)])
    found = model.find_evidence(*features)
    changed = [not torch.equal(old, new) for old, new in zip(raw.unbind(1), found.unbind(1), strict=True)]
    assert dict(zip(model.evidence.kinds, changed, strict=True)) == {
        "teacher": False,
        "region": False,
        "residual": True,
        "cosine": True,
        "context": False,
        "image": False,
    }
    assert found[:, 2:4].mean((0, 2, 3)).tolist() == pytest.approx([1, 1], abs=0.1)
    other = FusedReverseDistillationModel(**WIDE, pre_trained=False).eval()
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(images).pred_score, model(images).pred_score)


@torch.no_grad()
def test_of_tiles_the_most_unusual_as_a_whole_counts() -> None:
    torch.manual_seed(0)
    model = fitted(torch.randn(8, 3, 64, 96), tile_size=64, tile_overlap=32)
    model.brightness.strength.fill_(0)
    images = torch.randn(3, 3, 64, 96)
    tiles = model.network_inputs(images)
    assert tiles.shape == (6, 3, 64, 64)
    whole = model.fusion.weights[-1] * model.evidence(*model.distill(tiles))[:, -1, 0, 0].view(3, 2).amax(1)
    found = model(images)
    torch.testing.assert_close(found.pred_score[:, 0], (found.anomaly_map.amax((1, 2, 3)).square() + whole).sqrt())


@torch.no_grad()
def test_unusual_images_have_higher_maps_and_brightness_does_not_matter() -> None:
    torch.manual_seed(0)
    light = torch.linspace(0.8, 1.2, 12).view(-1, 1, 1, 1)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    raw = 0.4 + 0.05 * torch.randn(12, 3, 64, 64)
    model = fitted((raw * light - mean) / std)
    fresh = 0.4 + 0.05 * torch.randn(1, 3, 64, 64)
    scores = [model((fresh * gain - mean) / std).pred_score.item() for gain in (0.85, 1, 1.15)]
    assert max(scores) - min(scores) < 1e-3 * min(scores)
    fresh[..., 20:40, 20:40] = 0.9
    assert model((fresh - mean) / std).pred_score.item() > 1.2 * max(scores)


@torch.no_grad()
def test_image_evidence_does_not_depend_on_where_a_part_lies() -> None:
    torch.manual_seed(0)
    model = fitted(torch.randn(8, 3, 64, 64))
    scales = [torch.randn(2, channels, side, side) for channels, side in ((32, 16), (48, 8))]
    turned = [scale.rot90(1, (2, 3)).flip(2) for scale in scales]
    found, moved = (model.evidence(part, part)[:, -1] for part in (scales, turned))
    torch.testing.assert_close(found, moved)
    assert (found == found[:, :1, :1]).all()
    assert found[0, 0, 0] != found[1, 0, 0]


@torch.no_grad()
@pytest.mark.parametrize("tile_size", [None, 32])
def test_what_lies_outside_the_region_does_not_count_at_all(tile_size: int | None) -> None:
    # With tiles the lower ones hold nothing of it.
    region = {"width": 64, "height": 64, "polygons": [[[0, 0], [64, 0], [64, 32], [0, 32]]]}
    images, others = torch.randn(2, 8, 3, 64, 64)
    others[..., :32, :] = images[..., :32, :]
    models = []
    for each in (images, others):
        torch.manual_seed(0)
        models.append(fitted(each, roi=region, image_size=(64, 64), tile_size=tile_size))
    first, second = (model.state_dict() for model in models)
    assert all(torch.equal(first[name], second[name]) for name in first)
    model = models[0]
    evidence = model.find_evidence(*model.distill(model.network_inputs(images[:2])))
    outside = evidence[:, :-1, evidence.shape[2] // 2 :] if tile_size is None else evidence.unflatten(0, (2, 4))[:, 2:]
    assert not outside.any()
    assert evidence.any()
    found = [model(each[:2]) for each in (images, others)]
    assert torch.equal(found[0].anomaly_map, found[1].anomaly_map)
    assert torch.equal(found[0].pred_score, found[1].pred_score)
    lowest = found[0].anomaly_map[..., :32, :].amin((-2, -1), keepdim=True)
    assert torch.equal(found[0].anomaly_map[..., 32:, :], lowest.expand(2, 1, 32, 64))
    # Inside, a defect is found.
    images[:2, :, 8:24, 8:24] += 3
    assert (model(images[:2]).pred_score > found[0].pred_score).all()
