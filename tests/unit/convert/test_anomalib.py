# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of anomalib's own model."""

import pytest
import torch
from anomalib.models.image.reverse_distillation.anomaly_map import AnomalyMapGenerationMode
from anomalib.post_processing import PostProcessor

from rd_plugin import ReverseDistillation
from rd_plugin.convert import convert_anomalib

from .foreign import SIZE, THRESHOLDS, build_theirs, read_theirs, save

pytestmark = pytest.mark.usefixtures("no_downloads")


def images(seed=1):
    """Images as a camera gives them, larger than the model's input."""
    return torch.rand(3, 3, 80, 128, generator=torch.Generator().manual_seed(seed))


def load(path):
    return ReverseDistillation.load_from_checkpoint(path, map_location="cpu").eval()


def convert(theirs, folder):
    """Our model, converted from anomalib's by way of files that are gone then."""
    # As if its weights had been downloaded.
    source, output = save(theirs, folder / "theirs.ckpt", pre_trained=True), folder / "ours.ckpt"
    convert_anomalib(source, output)
    source.unlink()
    ours = load(output)
    output.unlink()
    return ours


def check_maps(theirs, ours):
    inputs = torch.randn(3, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = theirs.model(inputs)
        prediction = ours.model(inputs)
    assert expected.anomaly_map.std() > 1e-3
    torch.testing.assert_close(prediction.anomaly_map, expected.anomaly_map, rtol=0, atol=1e-4)
    torch.testing.assert_close(prediction.pred_score, expected.pred_score, rtol=0, atol=1e-4)


@pytest.mark.parametrize("mode", ["add", "multiply"])
def test_maps_are_theirs(tmp_path, mode):
    theirs = build_theirs(mode=mode)
    check_maps(theirs, convert(theirs, tmp_path))


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """anomalib's model with a wide ResNet, and ours."""
    theirs = build_theirs("wide_resnet50_2")
    return theirs, convert(theirs, tmp_path_factory.mktemp("wide"))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["add", "multiply"])
def test_maps_of_a_wide_resnet_are_theirs(wide, monkeypatch, mode):
    theirs, ours = wide
    # One conversion for both: it takes seconds, and the mode is no matter of weights.
    monkeypatch.setattr(theirs.model.anomaly_map_generator, "mode", AnomalyMapGenerationMode(mode))
    monkeypatch.setattr(ours.model.anomaly_map_generator, "mode", mode)
    check_maps(theirs, ours)


@pytest.mark.slow
def test_silent_channels_of_a_wide_resnet_learn_nothing(wide):
    _, ours = wide
    block = ours.model.bottleneck.embedding[1]
    ours.model.train()
    targets, student = ours.model(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    ours.model.eval()
    ours.loss(targets, student).backward()
    first, second, third = (block.residual[index].weight.grad for index in (0, 3, 6))
    assert first[:512].abs().sum() > 0
    for silent in (first[512:], second[512:], second[:, 512:], third[:, 512:], block.residual[4].bias.grad[512:]):
        assert silent.numel() > 0
        assert silent.abs().sum() == 0


def predicted_by(theirs):
    """What anomalib's engine says; called by itself, its model resizes as its exports do, without antialiasing."""
    return theirs.post_processor(theirs.model(theirs.pre_processor.transform(images())))


def test_whole_pipeline_is_theirs(theirs_resnet18, tmp_path):
    theirs, source = theirs_resnet18
    convert_anomalib(source, tmp_path / "ours.ckpt")
    ours = load(tmp_path / "ours.ckpt")
    with torch.inference_mode():
        expected = predicted_by(theirs)
        prediction = ours(images())
    # The thresholds move scores and maps by far more than the tolerance.
    assert (expected.pred_score - theirs.model(theirs.pre_processor.transform(images())).pred_score).abs().min() > 0.1
    assert prediction.anomaly_map.shape[-2:] == SIZE
    torch.testing.assert_close(prediction.pred_score, expected.pred_score, rtol=0, atol=1e-4)
    torch.testing.assert_close(prediction.anomaly_map, expected.anomaly_map, rtol=0, atol=1e-4)
    assert torch.equal(prediction.pred_label, expected.pred_label)
    for name, value in THRESHOLDS.items():
        assert getattr(ours.post_processor, name).item() == value


def test_settings_are_kept(tmp_path):
    post_processor = PostProcessor(enable_threshold_matching=False, image_sensitivity=0.25, pixel_sensitivity=0.75)
    source = save(build_theirs(mode="multiply", post_processor=post_processor), tmp_path / "theirs.ckpt")
    convert_anomalib(source, tmp_path / "ours.ckpt")
    theirs, stored = read_theirs(source), torch.load(tmp_path / "ours.ckpt", weights_only=True)
    for key in ("anomalib_pre_processor_config", "anomalib_post_processor_config", "anomalib_components_enabled"):
        # Our post-processor has settings of its own beside these.
        assert {name: stored[key][name] for name in theirs[key]} == theirs[key]
    assert stored["anomalib_post_processor_config"]["image_sensitivity"] == 0.25
    hyper_parameters = stored["hyper_parameters"]
    assert hyper_parameters["backbone"] == "resnet18"
    assert hyper_parameters["layers"] == ["layer1", "layer2", "layer3"]
    assert type(hyper_parameters["anomaly_map_mode"]) is str
    assert hyper_parameters["anomaly_map_mode"] == "multiply"
    assert hyper_parameters["blur_border"] == "reflect"
    assert hyper_parameters["betas"] == (0.5, 0.99)
    assert hyper_parameters["pre_trained"] is False


def test_components_that_were_off_stay_off(tmp_path):
    theirs = build_theirs(post_processor=False, evaluator=False, visualizer=False)
    convert_anomalib(save(theirs, tmp_path / "theirs.ckpt"), tmp_path / "ours.ckpt")
    ours = load(tmp_path / "ours.ckpt")
    assert ours.post_processor is None
    assert ours.evaluator is None
    assert ours.visualizer is None
    assert ours.pre_processor is not None


def check_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "theirs.ckpt")
    with pytest.raises(ValueError, match=message):
        convert_anomalib(tmp_path / "theirs.ckpt", tmp_path / "ours.ckpt")
    assert [path.name for path in tmp_path.iterdir()] == ["theirs.ckpt"]


TENSORS = {
    "model.encoder.feature_extractor.conv1.weight": torch.zeros(1),
    "model.bottleneck.conv1.weight": torch.zeros(1),
    "model.decoder.layer1.0.conv1.weight": torch.zeros(1),
}
HYPER_PARAMETERS = {"backbone": "resnet18", "layers": ["layer1"], "anomaly_map_mode": "add", "pre_trained": True}


@pytest.mark.parametrize(
    ("content", "missing"),
    [
        ([], "no hyper_parameters, no state_dict"),
        ({"bn": {}, "decoder": {}}, "no hyper_parameters, no state_dict"),
        ({"state_dict": TENSORS}, "no hyper_parameters"),
        ({"hyper_parameters": HYPER_PARAMETERS}, "no state_dict"),
        ({"hyper_parameters": {"backbone": "resnet18", "layers": []}, "state_dict": TENSORS},
         r"no hyper_parameters\.anomaly_map_mode, no hyper_parameters\.pre_trained"),
        ({"hyper_parameters": HYPER_PARAMETERS, "state_dict": {"model.teacher.net.conv1.weight": torch.zeros(1)}},
         r"no state_dict\.model\.encoder\.feature_extractor\.\*, no state_dict\.model\.bottleneck\.\*, "
         r"no state_dict\.model\.decoder\.\*"),
    ],
)  # fmt: skip
def test_missing_parts_are_named(tmp_path, content, missing):
    check_refused(tmp_path, content, rf"is not a checkpoint of anomalib's ReverseDistillation: it has {missing}\.$")


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (
            "resnet50",
            r"does not fit its backbone 'resnet50': model\.encoder\.feature_extractor\.layer1\.0\.conv1\.weight has "
            r"shape \(64, 64, 3, 3\), expected \(64, 64, 1, 1\)\.$",
        ),
        ("resnet81", "backbone 'resnet81' is unknown to timm"),
    ],
)
def test_backbone_does_not_fit(tmp_path, theirs_resnet18, backbone, message):
    content = read_theirs(theirs_resnet18[1])
    content["hyper_parameters"]["backbone"] = backbone
    check_refused(tmp_path, content, message)


def test_other_post_processor(tmp_path, theirs_resnet18):
    content = read_theirs(theirs_resnet18[1])
    content["state_dict"]["post_processor.temperature"] = torch.zeros(2)
    check_refused(tmp_path, content, r"its post-processor holds 'post_processor\.temperature', which")
