# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from anomalib.data.utils.tiler import Tiler

from rd_plugin.models import ReverseDistillationModel
from rd_plugin.models.components import CosineLoss

BACKBONES = ("resnet18", "tf_efficientnet_lite0", "mobilenetv3_small_100", "regnety_002", "convnext_atto")
SIZES = ((64, 64), (97, 70), (16, 31))


def build(backbone: str = "resnet18", **arguments: object) -> ReverseDistillationModel:
    return ReverseDistillationModel(backbone, pre_trained=False, **arguments)


@pytest.fixture(scope="module", params=BACKBONES)
def model(request: pytest.FixtureRequest) -> ReverseDistillationModel:
    torch.manual_seed(0)
    return build(request.param)


def check_every_parameter_is_trained(model: ReverseDistillationModel, size: tuple[int, int]) -> None:
    model.train().zero_grad()
    teacher, student = model(torch.randn(2, 3, *size))
    assert [t.shape for t in teacher] == [s.shape for s in student]
    CosineLoss()(teacher, student).backward()
    trained = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained
    assert not [name for name, gradient in trained.items() if gradient is None or not gradient.abs().sum() > 0]


def check_prediction(model: ReverseDistillationModel, size: tuple[int, int]) -> None:
    with torch.no_grad():
        predictions = model.eval()(torch.randn(2, 3, *size))
    assert predictions.anomaly_map.shape == (2, 1, *size)
    assert predictions.pred_score.shape == (2, 1)
    assert predictions.anomaly_map.isfinite().all()
    assert predictions.anomaly_map.min() >= -1e-5


@pytest.mark.parametrize("size", SIZES)
def test_any_input_size(model: ReverseDistillationModel, size: tuple[int, int]) -> None:
    check_every_parameter_is_trained(model, size)
    check_prediction(model, size)


@torch.no_grad()
def test_student_can_give_what_the_teacher_gives(model: ReverseDistillationModel) -> None:
    teacher, student = model.train().distill(torch.randn(2, 3, 64, 64))
    signed = model.teacher.backbone != "resnet18"
    for features in student:
        assert (features.min() < 0) == signed
    if not signed:
        assert all(features.min() >= 0 for features in teacher)


@pytest.mark.parametrize("layers", [["layer1"], ["layer3"], ["layer4"], ["layer1", "layer3"], ["layer2", "layer3"]])
def test_chosen_layers(layers: list[str]) -> None:
    model = build(layers=layers)
    channels = {"layer1": 64, "layer2": 128, "layer3": 256, "layer4": 512}
    teacher, _ = model.train()(torch.randn(2, 3, 70, 97))
    assert [feature.shape[1] for feature in teacher] == [channels[layer] for layer in layers]
    check_every_parameter_is_trained(model, (70, 97))
    check_prediction(model, (70, 97))


def test_chosen_layers_of_another_family() -> None:
    model = build("tf_efficientnet_lite0", layers=["blocks.1", "blocks.4"])
    check_every_parameter_is_trained(model, (50, 33))
    check_prediction(model, (50, 33))


def test_order_of_layers_does_not_matter() -> None:
    images = torch.randn(1, 3, 64, 64)
    maps = []
    for layers in (["layer1", "layer2"], ["layer2", "layer1"]):
        torch.manual_seed(0)
        maps.append(build(layers=layers).eval()(images).anomaly_map)
    assert torch.equal(*maps)


@pytest.mark.parametrize("bottleneck", ["mff_oce", "oce", "none"])
@pytest.mark.parametrize("backbone", ["resnet18", "tf_efficientnet_lite0"])
def test_bottlenecks(backbone: str, bottleneck: str) -> None:
    model = build(backbone, bottleneck=bottleneck)
    assert any(parameter.requires_grad for parameter in model.bottleneck.parameters()) == (bottleneck != "none")
    check_every_parameter_is_trained(model, (97, 70))
    check_prediction(model, (97, 70))


@torch.no_grad()
def test_every_statistic_in_the_state_dict_matters(model: ReverseDistillationModel) -> None:
    """With the gradients that every parameter gets, no tensor of the state dict is dead."""
    model.eval()
    features = model.teacher(torch.randn(1, 3, 32, 32))
    sizes = [feature.shape[-2:] for feature in features]
    before = model.student(model.bottleneck(features), sizes)
    dead = []
    for part in (model.bottleneck, model.student):
        assert part.state_dict().keys() == {name for name, _ in (*part.named_parameters(), *part.named_buffers())}
        for name, statistic in part.named_buffers():
            if statistic.is_floating_point():
                kept = statistic.clone()
                statistic += 1
                after = model.student(model.bottleneck(features), sizes)
                statistic.copy_(kept)
                if all(torch.equal(a, b) for a, b in zip(after, before, strict=True)):
                    dead.append(name)
    assert not dead


@torch.no_grad()
def test_map_and_score_follow_the_arguments() -> None:
    plain = build().eval()
    images = torch.randn(1, 3, 64, 64)
    scales, sharp = plain.scale_maps(images), {}
    for mode in ("add", "multiply"):
        model = build(anomaly_map_mode=mode, blur_sigma=0, score="mean").eval()
        model.load_state_dict(plain.state_dict())
        predictions = model(images)
        sharp[mode] = predictions.anomaly_map
        torch.testing.assert_close(predictions.pred_score, predictions.anomaly_map.mean().reshape(1, 1))
    torch.testing.assert_close(sharp["add"], scales[0] + scales[1] + scales[2])
    torch.testing.assert_close(sharp["multiply"], scales[0] * scales[1] * scales[2])
    assert plain(images).anomaly_map.std() < sharp["add"].std()


@torch.no_grad()
def test_border_of_the_blur_follows_the_argument() -> None:
    symmetric, reflect = build().eval(), build(blur_border="reflect").eval()
    reflect.load_state_dict(symmetric.state_dict())
    images = torch.randn(1, 3, 64, 64)
    difference = (symmetric(images).anomaly_map - reflect(images).anomaly_map).abs()
    # The kernel reaches 16 pixels.
    assert difference[..., 16:-16, 16:-16].max() < 1e-6
    assert difference.max() > 1e-4


def test_bfloat16_autocast_gives_single_precision_predictions() -> None:
    model = build().eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        predictions = model(torch.randn(1, 3, 64, 64))
    assert predictions.anomaly_map.dtype == predictions.pred_score.dtype == torch.float32


@torch.no_grad()
def test_tiles_go_through_the_model_alone() -> None:
    model = build(layers=["layer1"], blur_sigma=0).eval()
    images = torch.randn(2, 3, 64, 64)
    tiles = [model(images[..., row : row + 32, :32]).anomaly_map for row in (0, 32)]
    model.tiler = Tiler(tile_size=32, stride=32)
    predictions = model(images)
    torch.testing.assert_close(predictions.anomaly_map[..., :32], torch.cat(tiles, dim=-2))
    torch.testing.assert_close(predictions.pred_score, predictions.anomaly_map.amax(dim=(-2, -1)))


@torch.no_grad()
def test_images_of_a_batch_do_not_influence_each_other() -> None:
    model = build().eval()
    images = torch.randn(3, 3, 64, 64)
    together = model(images).anomaly_map
    alone = torch.cat([model(image.unsqueeze(0)).anomaly_map for image in images])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
