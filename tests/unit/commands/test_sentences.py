# SPDX-License-Identifier: Apache-2.0
"""Wrong input ends in one sentence, with the nearest right name, and exit status 2."""

from pathlib import Path
from urllib.error import URLError

import pytest
import yaml

from rd_plugin.commands.sentences import sentence

from .conftest import Tool

MODEL = ("--model", "rd_plugin.ReverseDistillation")
TRAIN = ("train", *MODEL)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "a subcommand is missing. There are install, fit, validate, test, train, "),
        (("trian",), "subcommand 'trian' is unknown. Did you mean 'train'? There are "),
        (("train",), "model is missing."),
        (TRAIN, "data is missing: give --data NAME, such as PartsFolder with --data.root FOLDER."),
        (("export", *MODEL), "export_type is missing."),
        (("predict", *MODEL), "data is missing."),
        (("check",), "data is missing."),
        (("inspect",), " is missing."),
        (("inspect", "model.xml"), "paths is missing."),
        (("convert",), "a program is missing."),
        (("convert", "rd4da"), "PROGRAM 'rd4da' is unknown. Did you mean 'rd4ad'? There are rd4ad, urd, anomalib."),
        (("convert", "rd4ad", "theirs.pth"), "output is missing."),
        (("benchmark",), "config is missing."),
        (("benchmark", "--config", "none"), "none: No such file or directory."),
        (("install", "--option", "ful"), "--option 'ful' is unknown. Did you mean 'full'? There are full, core, "),
        (
            ("train", "--model", "rd_plugin.ReverseDistilation"),
            "model 'rd_plugin.ReverseDistilation' is unknown. Did you mean 'rd_plugin.ReverseDistillation'?",
        ),
        (("train", "--model", "Padimm"), "model 'Padimm' is unknown. Did you mean 'Padim'?"),
        (
            ("train", "--model", "nothing.like.it"),
            "model 'nothing.like.it' is unknown. The package's own are rd_plugin.",
        ),
        (
            ("train", "--model", "ReverseDistillation"),
            "model 'ReverseDistillation' has two meanings; give the full name: anomalib.models.ReverseDistillation or "
            "rd_plugin.ReverseDistillation.",
        ),
        ((*TRAIN, "--data", "MVTce"), "data 'MVTce' is unknown. Did you mean 'rd_plugin.MVTec'?"),
        ((*TRAIN, "--data", "MVTec", "--data.rot", "x"), "data.rot does not exist. Did you mean 'data.root'?"),
        ((*TRAIN, "--data.root", "x"), "data.root needs the data's class before it: --data NAME."),
        ((*TRAIN, "--model.bakbone", "x"), "model.bakbone does not exist. Did you mean 'model.backbone'?"),
        (
            (*TRAIN, "--model.deviation", "mahalanobi"),
            "model.deviation must be 'cosine' or 'mahalanobis', got 'mahalanobi'. Did you mean 'mahalanobis'?",
        ),
        ((*TRAIN, "--traner.max_steps", "3"), "traner.max_steps does not exist. Did you mean 'trainer.max_steps'?"),
        ((*TRAIN, "--trainer.max_steps", "many"), "trainer.max_steps must be int, got 'many'."),
        ((*TRAIN, "--seed_everything", "x"), "seed_everything must be bool or int, got 'x'."),
        (
            (*TRAIN, "--data", "MVTec", "--model.backbone", "resnet81"),
            "backbone 'resnet81' is unknown to timm ",
        ),
        (
            ("train", "--config", "quickstrat"),
            "does not exist. Did you mean 'quickstart'? The package's own are fast, ",
        ),
        (("export", *MODEL, "--export_type", "onnx"), "ckpt_path is missing: without a checkpoint export would take"),
        (("predict", *MODEL, "--data", "parts"), "ckpt_path is missing: without a checkpoint predict would take"),
        (
            ("test", *MODEL, "--data", "MVTec"),
            "ckpt_path is missing: without a checkpoint test would take a model that",
        ),
        (
            ("export", *MODEL, "--export_type", "onnx", "--ckpt_path", "none.ckpt"),
            "ckpt_path 'none.ckpt' is not a file.",
        ),
        ((*TRAIN, "--data", "MVTec", "--model.image_size", "12"), "model.image_size: Expected a tuple"),
        (
            (
                *(*TRAIN, "--data", "MVTec", "--trainer.callbacks+=anomalib.callbacks.TilerConfigurationCallback"),
                *("--trainer.callbacks.enable", "true"),
            ),
            "TilerConfigurationCallback needs stride beside tile_size",
        ),
        (
            (*TRAIN, "--data", "MVTec", "--model.tile_size", "[320, 256]", "--model.image_size", "[256, 256]"),
            "tile_size [320, 256] is larger than the images, which have [256, 256] pixels",
        ),
        (("inspect", "none.xml", "a.png"), "model 'none.xml' is not a file."),
        (("convert", "urd", "none.pth", "--output", "b.ckpt"), "source 'none.pth' is not a file."),
        (
            ("check", "--data", "rd_plugin.PartsFolder", "--data.root", "none"),
            "data.root 'none' is not a folder.",
        ),
    ],
)
def test_one_sentence(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, errors = tool(*arguments)
    assert status == 2
    told = [line for line in errors.splitlines() if line.startswith("rd-plugin: error: ")]
    assert told == errors.splitlines()[-1:]
    assert expected in told[0]
    assert "Traceback" not in errors
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            {"model": {"class_path": "rd_plugin.ReverseDistillation", "init_args": {"bakbone": "x"}}},
            "'model.backbone'?",
        ),
        (
            {"model": {"class_path": "rd_plugin.ReverseDistillation"}, "trainer": {"max_step": 3}},
            "'trainer.max_steps'?",
        ),
        ("model: [", 'in "<unicode string>", line 2, column 1'),
    ],
)
def test_configuration(tool: Tool, tmp_path: Path, content: dict | str, expected: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    status, _, errors = tool("train", "--config", config)
    assert status == 2
    assert errors.splitlines()[-1].endswith(expected)


def test_all_names_that_do_not_exist_at_once(tool: Tool, tmp_path: Path) -> None:
    """In a configuration and on the command line; those that exist are not among them."""
    model = {"class_path": "rd_plugin.ReverseDistillation", "init_args": {"bakbone": "x", "layers": None, "scoer": 1}}
    data = {"class_path": "rd_plugin.PartsFolder", "init_args": {"rot": "x", "root": "y"}}
    callbacks = [{"class_path": "TilerConfigurationCallback", "init_args": {"enable": True}}]
    content = {
        "seed_everything": 0,
        "model": model,
        "data": data,
        "trainer": {"max_step": 3, "max_epochs": 2, "callbacks": callbacks},
        "optimzer": None,
        "logging": {"log_graph": False},
    }
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(content, sort_keys=False))
    typed = ("--trainer.acelerator", "cpu", "--model.image_size", "[3, 3]", "--trainer.callbacks+=Other")
    status, _, errors = tool("train", *typed, "--config", config)
    assert status == 2
    assert errors.splitlines() == [
        "rd-plugin: error: model.bakbone does not exist. Did you mean 'model.backbone'?",
        "rd-plugin: error: model.scoer does not exist. Did you mean 'model.score'?",
        "rd-plugin: error: data.rot does not exist. Did you mean 'data.root'?",
        "rd-plugin: error: trainer.max_step does not exist. Did you mean 'trainer.max_steps'?",
        "rd-plugin: error: optimzer does not exist. Did you mean 'optimizer'?",
        "rd-plugin: error: trainer.acelerator does not exist. Did you mean 'trainer.accelerator'?",
    ]


def test_near_file(tool: Tool, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").touch()
    status, _, errors = tool("train", "--config", tmp_path / "mein.yaml")
    assert status == 2
    assert errors.splitlines()[-1].endswith(f"does not exist. Did you mean '{tmp_path / 'mine.yaml'}'?")


def test_near_checkpoint(tool: Tool, tmp_path: Path) -> None:
    (tmp_path / "model.ckpt").touch()
    path = tmp_path / "modle.ckpt"
    status, _, errors = tool("export", *MODEL, "--export_type", "onnx", "--ckpt_path", path)
    assert status == 2
    assert errors.splitlines()[-1].endswith(f"is not a file. Did you mean '{tmp_path / 'model.ckpt'}'?")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (URLError("no route"), "nothing could be downloaded (no route): without a network, "),
        (FileNotFoundError(2, "No such file", "a.ckpt"), "a.ckpt: No such file."),
        (
            ValueError("'openvin' is not a valid ExportType"),
            "'openvin' is not a valid ExportType. Did you mean 'openvino'?",
        ),
        (ValueError("anything else\nas it is"), "anything else\nas it is"),
    ],
)
def test_errors_while_running(error: Exception, expected: str) -> None:
    assert sentence(error, {}, None).startswith(expected)
