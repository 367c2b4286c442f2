# SPDX-License-Identifier: Apache-2.0
"""Wrong input ends in one line, with the nearest right name, and exit status 2."""

from pathlib import Path
from urllib.error import URLError

import pytest
import yaml

from rd_plugin.commands.error_messages import error_message

from .conftest import Tool

MODEL = ("--model", "rd_plugin.ReverseDistillation")
TRAIN = ("train", *MODEL)
CHECKPOINT = str(
    Path(__file__).parents[2] / "compatibility" / "files" / "0.2.0" / "reverse_distillation" / "model.ckpt"
)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "a subcommand is missing: check, train, "),
        (("trian", "--config", "folder"), "'trian' is not a subcommand: check, train, "),
        (("trian",), "Did you mean 'train'?"),
        (("train",), "Option 'train.model' is required but not provided"),
        (TRAIN, "data is missing: give --data NAME, such as PartsFolder with --data.root FOLDER."),
        (("convert", "rd4da"), "invalid choice: 'rd4da' (choose from ...) Did you mean 'rd4ad'?"),
        (("convert", "rd4ad", "theirs.pth"), "Option 'convert.rd4ad.output' is required"),
        (("benchmark", "--config", "none"), "none: No such file or directory."),
        (("train", "--model", "rd_plugin.ReverseDistilation"), ". Did you mean 'rd_plugin.ReverseDistillation'?"),
        (("train", "--model", "Padimm"), "Padimm. Did you mean 'Padim'?"),
        (("train", "--model", "nothing.like.it"), "No module named 'nothing'."),
        (
            ("train", "--model", "ReverseDistillation"),
            "to avoid ambiguity: anomalib.models.ReverseDistillation, rd_plugin.ReverseDistillation.",
        ),
        ((*TRAIN, "--data", "MVTce"), "data: Expected a dot import path string: MVTce. Did you mean 'MVTec'?"),
        ((*TRAIN, "--data", "MVTec", "--data.rot", "x"), "Option 'rot' is not accepted. Did you mean 'root'?"),
        ((*TRAIN, "--data.root", "x"), "Option 'root' is not accepted. Give the class first: --data NAME"),
        (
            (*TRAIN, "--model.deviation", "mahalanobi"),
            "deviation: Expected a Literal['cosine', 'mahalanobis']. Got value: mahalanobi. Did you mean 'mahalanobis'",
        ),
        ((*TRAIN, "--traner.max_steps", "3"), "--traner.max_steps 3 Did you mean 'trainer.max_steps'?"),
        ((*TRAIN, "--trainer.max_steps", "many"), "trainer.max_steps: Expected a int. Got value: many."),
        ((*TRAIN, "--seed_everything", "x"), "seed_everything: Expected a bool. Expected a int. Given value: x."),
        ((*TRAIN, "--data", "MVTec", "--model.backbone", "resnet81"), "error: backbone 'resnet81' is unknown to timm "),
        (("train", "--config", "quickstrat"), "quickstrat'. Did you mean 'quickstart'?"),
        (("export", *MODEL, "--export_type", "onnx"), "ckpt_path is missing: without a checkpoint export would use"),
        (
            ("export", *MODEL, "--export_type", "onnx", "--ckpt_path", "none.ckpt"),
            "ckpt_path 'none.ckpt' is not a file.",
        ),
        (
            (*TRAIN, "--data", "MVTec", "--model.image_size", "12x12"),
            "image_size: Expected a int. Expected a tuple. Given value: 12x12. Give one number, or [HEIGHT,WIDTH].",
        ),
        (("train", "parts"), "Unrecognized arguments: parts. Write --config folder --data.root parts."),
        (("train", "--data.root", "parts"), "or write --config folder, which has both."),
        (
            (*TRAIN, "--data", "parts"),
            "To train on a folder, write --data PartsFolder --data.root parts.",
        ),
        (
            ("export", "--ckpt_path", CHECKPOINT),
            "provided or its value is None. Give --export_type openvino, onnx or torch.",
        ),
        (("export", "--export_type", "onnx"), "its value is None. Give --ckpt_path FILE"),
        (("inspect", "model.xml", "parts", "--picture"), "in full: --pictures or --pictures_folder."),
        (("inspect", "none.xml", "a.png"), "model 'none.xml' is not a file."),
        (("check", "--data", "rd_plugin.PartsFolder", "--data.root", "none"), "data.root 'none' is not a folder."),
    ],
)
def test_one_line(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parts").mkdir()
    status, _, errors = tool(*arguments)
    assert status == 2
    told = [line for line in errors.splitlines() if line.startswith("rd-plugin: error: ")]
    assert told == errors.splitlines()[-1:]
    beginning, _, end = expected.partition("...")
    assert beginning in told[0]
    assert end in told[0]
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == [tmp_path / "parts"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"model": {"class_path": "rd_plugin.ReverseDistillation", "init_args": {"bakbone": "x"}}}, "'backbone'?"),
        ({"model": {"class_path": "rd_plugin.ReverseDistillation"}, "trainer": {"max_step": 3}}, "max_steps'?"),
        ("model: [", 'in "<unicode string>", line 2, column 1.'),
    ],
)
def test_configuration(tool: Tool, tmp_path: Path, content: dict | str, expected: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    status, _, errors = tool("train", "--config", config)
    assert status == 2
    assert errors.splitlines()[-1].endswith(expected)


@pytest.mark.parametrize(
    ("words", "there", "wrong"),
    [
        (("train", "--config"), "mine.yaml", "mein.yaml"),
        (("export", *MODEL, "--export_type", "onnx", "--ckpt_path"), "model.ckpt", "modle.ckpt"),
    ],
)
def test_near_file(tool: Tool, tmp_path: Path, words: tuple[str, ...], there: str, wrong: str) -> None:
    (tmp_path / there).touch()
    status, _, errors = tool(*words, tmp_path / wrong)
    assert status == 2
    assert errors.splitlines()[-1].endswith(f" Did you mean '{tmp_path / there}'?")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (URLError("no route"), "nothing could be downloaded (no route): without a network, "),
        (FileNotFoundError(2, "No such file", "a.ckpt"), "a.ckpt: No such file."),
        (ValueError("'openvin' is not a valid ExportType"), "'openvin' is not a valid ExportType Did you mean 'openvi"),
        (ValueError("anything else\nas it is"), "anything else\nas it is"),
    ],
)
def test_errors_while_running(error: Exception, expected: str) -> None:
    assert error_message(error, ["export", "--export_type", "openvin"], {}).startswith(expected)
