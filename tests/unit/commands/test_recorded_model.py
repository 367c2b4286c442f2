# SPDX-License-Identifier: Apache-2.0
"""A checkpoint is enough: its record says what model it is of."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from rd_plugin import ReverseDistillation
from rd_plugin.commands.argv import arrange
from rd_plugin.commands.command_line import CommandLine
from rd_plugin.commands.recorded_model import with_recorded_model
from rd_plugin.convert.files import write_checkpoint

from .conftest import Tool

FILES = Path(__file__).parents[2] / "compatibility" / "files" / "0.2.0"
CHECKPOINT = FILES / "reverse_distillation" / "model.ckpt"


def _parsed(*arguments: object) -> dict:
    given = with_recorded_model(arrange([str(argument) for argument in arguments]))
    # anomalib's class does as it is told when it is made; its parser alone is wanted here.
    cli = CommandLine(["install"], run=False)
    return cli.parser.parse_args(given)[given[0]]


POST_PROCESSOR = "rd_plugin.post_processor.DistillationPostProcessor"


@pytest.fixture
def strict(tmp_path: Path) -> Path:
    """A checkpoint whose post-processor has settings of its own."""
    model = ReverseDistillation.load_from_checkpoint(CHECKPOINT)
    model.post_processor.threshold, model.post_processor.image_sensitivity = "false_alarms", 0.6
    write_checkpoint(model, tmp_path / "strict.ckpt", "RD4AD")
    return tmp_path / "strict.ckpt"


@pytest.mark.parametrize("words", [(), ("--model.post_processor", POST_PROCESSOR)])
def test_typed_settings_of_the_post_processor_change_those_of_the_checkpoint(
    strict: Path, run_config: Path, words: tuple[str, ...]
) -> None:
    rate = ("--model.post_processor.false_alarm_rate", 0.2)
    parsed = _parsed("validate", "--config", run_config, "--ckpt_path", strict, *words, *rate)
    post_processor = parsed.model.init_args.post_processor
    assert post_processor.class_path == POST_PROCESSOR
    found = {name: post_processor.init_args[name] for name in ("threshold", "image_sensitivity", "false_alarm_rate")}
    assert found == {"threshold": "false_alarms", "image_sensitivity": 0.6, "false_alarm_rate": 0.2}
    # Without them the checkpoint restores its own.
    assert _parsed("validate", "--config", run_config, "--ckpt_path", strict).model.init_args.post_processor is True


@pytest.fixture
def run_config(tmp_path: Path) -> Path:
    """What a training leaves beside its results, of another model."""
    path = tmp_path / "config.yaml"
    sections = {
        "seed_everything": 3,
        "optimizer": None,
        "lr_scheduler": None,
        "model": {"class_path": "rd_plugin.ReverseDistillation", "init_args": {"backbone": "resnet18"}},
        "data": {"class_path": "rd_plugin.PartsFolder", "init_args": {"root": "parts"}},
        "ckpt_path": None,
    }
    path.write_text(yaml.safe_dump(sections))
    return path


@pytest.mark.parametrize(
    ("arguments", "backbone"),
    [
        (("test",), "test_efficientnet"),
        (("validate", "--model", "rd_plugin.ReverseDistillation"), "test_efficientnet"),
        (("predict", "--data", "parts"), "test_efficientnet"),
        (("export", "--export_type", "onnx", "--model.backbone", "resnet34"), "resnet34"),
    ],
)
def test_model_and_arguments(arguments: tuple[str, ...], backbone: str) -> None:
    parsed = _parsed(*arguments, "--ckpt_path", CHECKPOINT)
    assert parsed.model.class_path == "rd_plugin.ReverseDistillation"
    assert parsed.model.init_args.backbone == backbone
    assert parsed.model.init_args.layers == ["blocks.0"]
    assert parsed.model.init_args.report is False


@pytest.mark.parametrize("subcommand", ["validate", "test", "predict", "export"])
def test_configuration_of_a_run_in_any_order(subcommand: str, run_config: Path) -> None:
    kind = ("--export_type", "onnx") if subcommand == "export" else ()
    parsed = _parsed(subcommand, *kind, f"--ckpt_path={CHECKPOINT}", "--config", run_config)
    assert parsed.ckpt_path == str(CHECKPOINT)
    assert parsed.seed_everything == 3
    assert parsed.data.class_path == "rd_plugin.PartsFolder"
    assert parsed.model.init_args.backbone == "test_efficientnet"


def test_what_is_typed_overrules_the_configuration(run_config: Path) -> None:
    parsed = _parsed("predict", "--data", "others", "--ckpt_path", CHECKPOINT, "--config", run_config)
    assert parsed.data == "others"


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "--ckpt_path", str(CHECKPOINT)),
        ("test", "--ckpt_path", "best"),
        ("test", "--ckpt_path", "s3://bucket/model.ckpt"),
        ("test", "--model", "Padim"),
        ("--help",),
    ],
)
def test_others_are_left_as_they_are(arguments: tuple[str, ...]) -> None:
    assert with_recorded_model(arguments) == list(arguments)


def test_checkpoint_without_a_record(tmp_path: Path, tool: Tool) -> None:
    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": {}, "pytorch-lightning_version": "2"}, path)
    status, _, errors = tool("export", "--export_type", "onnx", "--ckpt_path", path)
    assert status == 2
    assert errors.splitlines()[-1].endswith("does not name its model; give --model.")
    given = ["export", "--model", "Padim", "--ckpt_path", str(path)]
    assert with_recorded_model(given) == given


def test_export_beside_its_checkpoint(tmp_path: Path, tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a run's folder, and in any other, each under the checkpoint's name."""
    monkeypatch.chdir(tmp_path)
    run = Path("results/ReverseDistillation/parts/v0/weights/lightning")
    run.mkdir(parents=True)
    Path("others").mkdir()
    places = (run / "model.ckpt", Path("others/a.ckpt"))
    for place in places:
        shutil.copy(CHECKPOINT, place)
        assert tool("export", "--export_type", "torch", "--ckpt_path", place).status == 0
    expected = [
        Path("others/weights/torch/a.pt"),
        Path("results/ReverseDistillation/parts/v0/weights/torch/model.pt"),
    ]
    assert sorted(Path().rglob("*.pt")) == expected
    assert json.loads(expected[0].with_suffix(".json").read_text())["arguments"]["backbone"] == "test_efficientnet"


def test_export_has_what_was_typed(tmp_path: Path, tool: Tool) -> None:
    """anomalib's engine builds a model from its checkpoint alone."""
    shutil.copy(CHECKPOINT, tmp_path)
    words = ("--model.score", "mean", "--model.post_processor.image_sensitivity", "0.7")
    assert tool("export", "--export_type", "torch", "--ckpt_path", tmp_path / CHECKPOINT.name, *words).status == 0
    record = json.loads((tmp_path / "weights" / "torch" / "model.json").read_text())
    assert (record["arguments"]["score"], record["export"]["threshold"]) == ("mean", 0.3)
