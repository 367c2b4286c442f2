# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that must fit, and records in checkpoints and exports."""

import json
import logging
import re
from itertools import permutations
from pathlib import Path

import openvino
import pytest
import torch
from anomalib.deploy import CompressionType
from anomalib.pre_processing import PreProcessor
from torch import nn
from torchvision.transforms.v2 import CenterCrop, Compose, GaussianBlur, Resize

from rd_plugin import ExactPreProcessor, ExpertReverseDistillation, ReverseDistillation
from rd_plugin.convert.files import write_checkpoint
from rd_plugin.inspection import load_inferencer
from rd_plugin.models import METHODS
from rd_plugin.models.distillation import Distillation
from rd_plugin.post_processor import DistillationPostProcessor
from rd_plugin.provenance import RECORD_KEY

from ..convert.foreign import Intruder
from ..models.base import SMALL, loader, with_thresholds
from ..trainers import quiet_trainer

Method = type[Distillation]


def resizing(side: int) -> PreProcessor:
    return ReverseDistillation.configure_pre_processor((side, side))


def unsaved(side: int) -> PreProcessor:
    """A pre-processor with a transform that anomalib does not save."""
    return PreProcessor(Compose([Resize((side, side)), GaussianBlur(3, sigma=1.0)]))


def save(folder: Path, method: Method = ReverseDistillation, **arguments: object) -> Path:
    """Write a checkpoint of a small model for 64 x 64 pixels."""
    model = method(**{**SMALL, "pre_processor": resizing(64), **arguments})
    write_checkpoint(model, folder / "model.ckpt", "RD4AD")
    return folder / "model.ckpt"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What the module says at load and export."""
    caplog.set_level(logging.INFO, "rd_plugin")
    return caplog


@pytest.mark.parametrize("method", METHODS)
def test_record_of_a_model_that_was_not_trained(tmp_path: Path, method: Method) -> None:
    path = save(tmp_path, method, layers=None)
    record = torch.load(path, weights_only=True)[RECORD_KEY]
    assert record["method"] == method.__name__
    assert record["arguments"]["backbone"] == "test_resnet"
    assert record["arguments"]["layers"] == ["layer1", "layer2", "layer3"]
    assert record["input_size"] == [64, 64]
    assert record["steps"] == 0
    assert record["seed"] is record["teacher"] is record["data"] is None
    assert record == json.loads(path.with_suffix(".json").read_text())


def test_record_says_how_images_are_cropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint's, an export's, and that of a checkpoint of before, which does not say so."""
    monkeypatch.setenv("TRUST_REMOTE_CODE", "1")
    steps = [["resize", [72, 72], None], ["crop", [64, 64]]]
    pre_processor = ExactPreProcessor(Compose([Resize((72, 72)), CenterCrop(64)]))
    path = tmp_path / "model.ckpt"
    write_checkpoint(with_thresholds(ReverseDistillation(**{**SMALL, "pre_processor": pre_processor})), path, "RD4AD")
    assert json.loads(path.with_suffix(".json").read_text())["crop"] == steps
    model = ReverseDistillation.load_from_checkpoint(path)
    exported = model.to_torch(tmp_path / "exported")
    assert json.loads(exported.with_suffix(".json").read_text())["crop"] == steps
    assert load_inferencer(exported).record["crop"] == steps
    content = torch.load(path, weights_only=True)
    del content[RECORD_KEY]["crop"]
    torch.save(content, tmp_path / "before.ckpt")
    assert load_inferencer(tmp_path / "before.ckpt").record["crop"] == steps


@pytest.mark.parametrize(
    ("method", "arguments", "differs"),
    [
        (
            ReverseDistillation,
            {"backbone": "resnet34"},
            "backbone 'test_resnet' in the checkpoint, 'resnet34' in the model",
        ),
        (ReverseDistillation, {"layers": ["layer2"]}, "layers ['layer1'] in the checkpoint, ['layer2'] in the model"),
        (ReverseDistillation, {"bottleneck": "oce"}, "bottleneck 'mff_oce' in the checkpoint, 'oce' in the model"),
        (ExpertReverseDistillation, {"injection": "none"}, "injection 'guided' in the checkpoint, 'none' in the model"),
    ],
)
def test_checkpoint_of_another_structure(tmp_path: Path, method: Method, arguments: dict, differs: str) -> None:
    path = save(tmp_path, method)
    with pytest.raises(ValueError, match=re.escape(f"The checkpoint does not fit the model: {differs}.")):
        method.load_from_checkpoint(path, **arguments)
    model = method(**{**SMALL, **arguments})
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(ValueError, match=re.escape(differs)):
        quiet_trainer(tmp_path, limit_test_batches=0).test(model, loader(), ckpt_path=path)
    assert all(map(torch.equal, model.parameters(), before))


@pytest.mark.parametrize(("method", "other"), list(permutations(METHODS[:2])))
def test_checkpoint_of_another_method(tmp_path: Path, method: Method, other: Method) -> None:
    message = f"method '{method.__name__}' in the checkpoint, '{other.__name__}' in the model"
    with pytest.raises(ValueError, match=message):
        other.load_from_checkpoint(save(tmp_path, method))


class Subclass(ReverseDistillation):
    """What a user may write."""


def test_checkpoint_in_a_subclass(tmp_path: Path) -> None:
    assert Subclass.load_from_checkpoint(save(tmp_path)).provenance.method == "ReverseDistillation"


def test_arguments_that_may_differ(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    model = ReverseDistillation.load_from_checkpoint(
        save(tmp_path), backbone="test_resnet.r160_in1k", learning_rate=0.1, pre_trained=False, visualizer=True
    )
    assert model.learning_rate == 0.1
    assert model.resized_to == [64, 64]
    assert "checkpoint" not in log.text


def test_checkpoint_without_a_record_is_taken_as_it_is(tmp_path: Path) -> None:
    path = save(tmp_path)
    content = torch.load(path, weights_only=True)
    del content[RECORD_KEY]
    torch.save(content, path)
    model = ReverseDistillation.load_from_checkpoint(path)
    name = "model.teacher.net.layer1.0.conv1.weight"
    assert torch.equal(model.state_dict()[name], content["state_dict"][name])
    assert model.resized_to == [64, 64]
    with pytest.raises(RuntimeError, match="Missing key"):
        ReverseDistillation.load_from_checkpoint(path, layers=["layer1", "layer2"])


def test_loaded_and_saved_again_keeps_the_record(tmp_path: Path) -> None:
    path = save(tmp_path)
    content = torch.load(path, weights_only=True)
    content[RECORD_KEY] |= {"steps": 300, "seed": 5, "teacher": "a" * 64, "versions": {"torch": "1.0"}}
    torch.save(content, path)
    write_checkpoint(ReverseDistillation.load_from_checkpoint(path, score="mean"), tmp_path / "again.ckpt", "RD4AD")
    again = torch.load(tmp_path / "again.ckpt", weights_only=True)[RECORD_KEY]
    assert again["arguments"]["score"] == "mean"
    assert {name: again[name] for name in ("steps", "seed", "teacher", "versions")} == {
        "steps": 300,
        "seed": 5,
        "teacher": "a" * 64,
        "versions": {"torch": "1.0"},
    }


def test_another_size_gives_way_and_is_named(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    model = ReverseDistillation.load_from_checkpoint(save(tmp_path), pre_processor=resizing(96))
    assert model.resized_to == [64, 64]
    message = "pre-processor (resizing to 64 x 64 pixels) replaces the model's (resizing to 96 x 96 pixels)"
    assert message in log.text


def test_pre_processor_where_the_checkpoint_has_none(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    model = ReverseDistillation.load_from_checkpoint(save(tmp_path, pre_processor=False), pre_processor=resizing(96))
    assert model.pre_processor is None
    assert "pre-processor (no resizing) replaces the model's (resizing to 96 x 96 pixels)" in log.text


def test_left_out_pre_processor_is_named(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    model = ReverseDistillation.load_from_checkpoint(save(tmp_path), pre_processor=False)
    assert model.pre_processor is None
    assert "The checkpoint's pre-processor (resizing to 64 x 64 pixels) is left out" in log.text


def test_other_transforms_of_the_same_size_give_way_and_are_named(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    """Also if they are a subclass's, which exports exactly; the same ones are not named."""
    path = save(tmp_path)
    ReverseDistillation.load_from_checkpoint(path, pre_processor=resizing(64))
    assert "replaces" not in log.text
    ReverseDistillation.load_from_checkpoint(path, pre_processor=PreProcessor(Resize((64, 64))))
    assert "The checkpoint's pre-processor replaces the model's, which has other transforms" in log.text


def _rate(rate: float) -> DistillationPostProcessor:
    return DistillationPostProcessor(threshold="false_alarms", false_alarm_rate=rate)


def test_given_post_processor_is_obeyed(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    """With the checkpoint's thresholds, which the next validation replaces."""
    saved = with_thresholds(ReverseDistillation(**{**SMALL, "post_processor": _rate(0.01)}))
    write_checkpoint(saved, tmp_path / "model.ckpt", "RD4AD")
    assert ReverseDistillation.load_from_checkpoint(tmp_path / "model.ckpt").post_processor.false_alarm_rate == 0.01
    assert "replaces" not in log.text
    model = ReverseDistillation.load_from_checkpoint(tmp_path / "model.ckpt", post_processor=_rate(0.2))
    assert model.post_processor.false_alarm_rate == 0.2
    assert float(model.post_processor.image_threshold) == 0.5
    assert "The given post-processor replaces the checkpoint's settings: false_alarm_rate 0.2, not 0.01." in log.text
    model = ReverseDistillation(**{**SMALL, "post_processor": _rate(0.3)})
    quiet_trainer(tmp_path, limit_test_batches=0).test(model, loader(), ckpt_path=tmp_path / "model.ckpt")
    assert model.post_processor.false_alarm_rate == 0.3


def test_given_components_are_kept_and_others_named(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    without = save(tmp_path, post_processor=False, visualizer=False)
    model = ReverseDistillation.load_from_checkpoint(without, post_processor=_rate(0.2), visualizer=True)
    assert model.post_processor.false_alarm_rate == 0.2
    assert model.visualizer is not None
    assert "has no" not in log.text
    assert ReverseDistillation.load_from_checkpoint(without).post_processor is None
    assert (
        "The checkpoint's model has no post_processor, so this one has none; --model.post_processor true, " in log.text
    )


@pytest.mark.parametrize("component", ["post_processor", "evaluator", "visualizer"])
def test_component_that_is_left_out(tmp_path: Path, component: str) -> None:
    model = ReverseDistillation.load_from_checkpoint(save(tmp_path, visualizer=True), **{component: False})
    assert getattr(model, component) is None


class Counting(DistillationPostProcessor):
    """A post-processor with a state of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))


def test_post_processor_of_the_users_own_kind_must_be_given(tmp_path: Path) -> None:
    path = save(tmp_path, post_processor=Counting())
    assert isinstance(
        ReverseDistillation.load_from_checkpoint(path, post_processor=Counting()).post_processor, Counting
    )
    message = "its post-processor holds 'post_processor.seen', which a DistillationPostProcessor does not"
    with pytest.raises(ValueError, match=message):
        ReverseDistillation.load_from_checkpoint(path)


def test_restored_weights_keep_the_arguments(tmp_path: Path) -> None:
    path = save(tmp_path, pre_processor=resizing(96))
    model = ReverseDistillation(**{**SMALL, "score": "mean"})
    model.restore(path)
    assert (model.hparams["score"], model.resized_to) == ("mean", [96, 96])
    (tmp_path / "other.ckpt").write_text("nothing")
    with pytest.raises(ValueError, match="was refused"):
        model.restore(tmp_path / "other.ckpt")


class Halving(nn.Module):
    """A pre-processor without what anomalib looks at."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[..., ::2, ::2]


def test_pre_processor_of_the_users_own_kind(tmp_path: Path) -> None:
    path = save(tmp_path, pre_processor=Halving())
    assert json.loads(path.with_suffix(".json").read_text())["input_size"] is None
    assert isinstance(ReverseDistillation.load_from_checkpoint(path, pre_processor=Halving()).pre_processor, Halving)


def test_pre_processor_that_anomalib_cannot_save_must_be_given(tmp_path: Path) -> None:
    path = save(tmp_path, pre_processor=unsaved(64))
    kept = ReverseDistillation.load_from_checkpoint(path, pre_processor=unsaved(64))
    assert isinstance(kept.pre_processor.transform.transforms[1], GaussianBlur)
    with pytest.raises(ValueError, match=r"64 pixels\), and the model has another \(resizing to 48 x 48 pixels\)"):
        ReverseDistillation.load_from_checkpoint(path, pre_processor=unsaved(48))
    # The default one is another even if it resizes to the same size.
    path = save(tmp_path, pre_processor=unsaved(256))
    with pytest.raises(ValueError, match=r"256 pixels\), and the model has another \(resizing to 256 x 256 pixels\)"):
        ReverseDistillation.load_from_checkpoint(path)


@pytest.fixture
def _quick_exports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch and OpenVINO write files without a graph: what they hold is not of interest here."""
    monkeypatch.setattr(torch.onnx, "export", lambda *_, f, **__: Path(f).touch())
    monkeypatch.setattr(openvino, "convert_model", lambda *_, **__: None)
    monkeypatch.setattr(openvino, "save_model", lambda _, path, **__: Path(path).touch())
    monkeypatch.setattr("rd_plugin.export.mixin.decide_branches", lambda *_: None)


@pytest.mark.usefixtures("_quick_exports")
@pytest.mark.parametrize("export", ["to_torch", "to_onnx", "to_openvino"])
def test_export_is_announced_once_and_has_its_record_beside_it(
    tmp_path: Path, log: pytest.LogCaptureFixture, export: str
) -> None:
    model = ReverseDistillation.load_from_checkpoint(save(tmp_path))
    path = getattr(model, export)(tmp_path / "exported", "cells")
    assert sorted(file.name for file in path.parent.iterdir()) == sorted([path.name, "cells.json"])
    record = json.loads((path.parent / "cells.json").read_text())
    trained = json.loads((tmp_path / "model.json").read_text())
    assert {name: record[name] for name in trained} == trained
    assert record["export"]["versions"]["torch"]
    (said,) = (entry.message for entry in log.records if "Exporting" in entry.message)
    assert said.startswith(
        "Exporting ReverseDistillation with backbone test_resnet and layers layer1, resizing to 64 x 64"
    )


@pytest.mark.usefixtures("_quick_exports")
@pytest.mark.parametrize(("side", "said"), [(96, 1), (64, 0)])
@pytest.mark.parametrize("export", ["to_onnx", "to_openvino"])
def test_export_of_another_size_than_the_model_resizes_to(
    tmp_path: Path, log: pytest.LogCaptureFixture, export: str, side: int, said: int
) -> None:
    model = ReverseDistillation(**{**SMALL, "pre_processor": resizing(64)})
    path = getattr(model, export)(tmp_path, "cells", (side, side))
    message = "the export takes images of 96 x 96 pixels and resizes them to the model's 64 x 64."
    assert log.text.count(message) == said
    assert json.loads((path.parent / "cells.json").read_text())["export"]["input_size"] == [side, side]


class OthersPreProcessor(PreProcessor):
    """One whose exports do what its author wants."""


@pytest.mark.usefixtures("_quick_exports")
@pytest.mark.parametrize(("kind", "said"), [(OthersPreProcessor, 1), (PreProcessor, 0), (ExactPreProcessor, 0)])
def test_export_that_may_resize_in_another_way_is_said(
    tmp_path: Path, log: pytest.LogCaptureFixture, kind: type[PreProcessor], said: int
) -> None:
    model = ReverseDistillation(**{**SMALL, "pre_processor": kind(Resize((64, 64)))})
    model.to_torch(tmp_path)
    assert log.text.count("pre_processor is a OthersPreProcessor: the export resizes with its export_transform") == said


@pytest.mark.usefixtures("_quick_exports")
def test_compression_is_recorded(tmp_path: Path) -> None:
    path = ReverseDistillation(**SMALL).to_openvino(tmp_path, compression_type=CompressionType.FP16)
    assert json.loads(path.with_suffix(".json").read_text())["export"]["compression_type"] == "fp16"


@pytest.mark.parametrize("spoiled", ["empty", "cut off", "half", "foreign"])
def test_file_that_is_no_checkpoint_is_named_in_a_sentence(tmp_path: Path, spoiled: str) -> None:
    path, reason = save(tmp_path), "it is empty or cut off."
    if spoiled == "foreign":
        torch.save({"weights": torch.zeros(1)}, path)
        reason = "it is not a Lightning checkpoint, since it holds no 'pytorch-lightning_version'."
    else:
        content = path.read_bytes()
        path.write_bytes(content[: {"empty": 0, "cut off": -1000, "half": len(content) // 2}[spoiled]])
    message = re.escape(f"'{path}' was refused: {reason}")
    with pytest.raises(ValueError, match=f"^{message}"):
        ReverseDistillation.load_from_checkpoint(path)
    for run in ("fit", "validate", "test", "predict"):
        with pytest.raises(ValueError, match=f"^{message}"):
            getattr(quiet_trainer(tmp_path), run)(ReverseDistillation(**SMALL), loader(), ckpt_path=path)


@pytest.mark.parametrize("archive", [True, False])
def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, archive: bool) -> None:
    path = save(tmp_path)
    content = torch.load(path, weights_only=True)
    content["hyper_parameters"]["score"] = Intruder(tmp_path / "marker")
    torch.save(content, path, _use_new_zipfile_serialization=archive)
    message = re.escape(f"'{path}' was refused: it holds io.open, and what could run code is never loaded.")
    with pytest.raises(ValueError, match=f"^{message}$"):
        ReverseDistillation.load_from_checkpoint(path)
    for run in ("fit", "test"):
        with pytest.raises(ValueError, match=f"^{message}$"):
            getattr(quiet_trainer(tmp_path, limit_test_batches=0), run)(
                ReverseDistillation(**SMALL), loader(), ckpt_path=path
            )
    assert not (tmp_path / "marker").exists()
    # The file is dangerous: read carelessly, it does what it was made for.
    torch.load(path, weights_only=False)
    assert (tmp_path / "marker").exists()
