# SPDX-License-Identifier: Apache-2.0
"""What importing the package changes in anomalib, each seen from a process of its own."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from anomalib.engine import engine

import rd_plugin  # noqa: F401  # changes the engine

from ..processes import run_code, run_function

# Every public name and what it stands for, before and after the package is imported.
REGISTRIES = """
import inspect, json, logging
import anomalib.data
from anomalib.data import AnomalibDataModule
from anomalib.models import _get_model_class_by_name, get_model, list_models

def path(value):
    return f"{value.__module__}.{value.__qualname__}"

def registries():
    modules = {name: getattr(anomalib.data, name) for name in anomalib.data.__all__}
    return {
        "models": {name: path(_get_model_class_by_name(name)) for name in sorted(list_models())},
        "data": {
            name: path(value)
            for name, value in modules.items()
            if inspect.isclass(value) and issubclass(value, AnomalibDataModule)
        },
    }

before = registries()
import rd_plugin
init_args = {"backbone": "resnet18", "pre_trained": False}
got = {
    "name": get_model("reverse_distillation", **init_args),
    "Name": get_model("ReverseDistillation", **init_args),
    "anomalib": get_model({"class_path": "anomalib.models.ReverseDistillation", "init_args": init_args}),
    "plugin": get_model({"class_path": "rd_plugin.ReverseDistillation", "init_args": init_args}),
    "plugin.models": get_model({"class_path": "rd_plugin.models.ReverseDistillation", "init_args": init_args}),
}
print(json.dumps({"before": before, "after": registries(), "got": {k: path(type(v)) for k, v in got.items()}}))
"""

# What the command line answers: exit code (0 if all was understood), error output and the number of validations.
COMMAND_LINE = """
import contextlib, io, json, sys
from anomalib.cli import AnomalibCLI
import rd_plugin

def answer(name, *more):
    given = ["--model", name, "--model.backbone=resnet18", "--model.pre_trained=false", *more]
    sys.argv = ["anomalib", "train", "--data", "anomalib.data.MVTecAD", *given]
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        try:
            config = AnomalibCLI(args=sys.argv[1:], run=False).config["train"]
        except SystemExit as stop:
            return stop.code, errors.getvalue(), None
    return 0, "", config["model"]["init_args"].get("validations", "unknown")

names, every = sys.argv[1:], ["--trainer.check_val_every_n_epoch", "1"]
schedules = {
    "given": answer("rd_plugin.ReverseDistillation", *every),
    "both": answer("rd_plugin.ReverseDistillation", *every, "--model.validations=3"),
}
print(json.dumps({**{name: answer(name) for name in names}, **schedules}))
"""

THEIRS = "anomalib.models.image.reverse_distillation.lightning_model.ReverseDistillation"
OURS = "rd_plugin.models.reverse_distillation.lightning_model.ReverseDistillation"

SHORT_NAME, OTHER_SHORT_NAME = "ReverseDistillation", "Padim"
EXPERT_NAMES = ("ExpertReverseDistillation", "rd_plugin.ExpertReverseDistillation")
FULL_PATHS = ("anomalib.models.ReverseDistillation", "rd_plugin.ReverseDistillation")


def run(code: str, cwd: Path, *arguments: str) -> dict[str, Any]:
    """The JSON that a process of its own prints, into which only anomalib has been imported."""
    done = run_function(cwd, run_code, code, *arguments)
    assert done.status == 0, done.output
    return json.loads(next(line for line in reversed(done.output.splitlines()) if line.startswith("{")))


@pytest.fixture(scope="module")
def registries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    return run(REGISTRIES, tmp_path_factory.mktemp("registries"))


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list]:
    names = (SHORT_NAME, OTHER_SHORT_NAME, *FULL_PATHS, *EXPERT_NAMES)
    return run(COMMAND_LINE, tmp_path_factory.mktemp("answers"), *names)


@pytest.mark.parametrize("kind", ["models", "data"])
def test_every_name_of_anomalib_still_means_what_it_meant(registries: dict[str, dict], kind: str) -> None:
    before, after = registries["before"][kind], registries["after"][kind]
    assert before
    assert {name: after.get(name) for name in before} == before


def test_new_names_are_the_packages_own(registries: dict[str, dict]) -> None:
    before, after = registries["before"], registries["after"]
    new = after["models"].keys() - before["models"].keys()
    assert all(after["models"][name].startswith("rd_plugin.") for name in new)
    assert after["data"] == before["data"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("name", THEIRS),
        ("Name", THEIRS),
        ("anomalib", THEIRS),
        ("plugin", OURS),
        ("plugin.models", OURS),
    ],
)
def test_get_model(registries: dict[str, dict], asked: str, expected: str) -> None:
    assert registries["got"][asked] == expected


def test_short_name_on_the_command_line_is_reported_as_ambiguous(answers: dict[str, list]) -> None:
    code, errors, _ = answers[SHORT_NAME]
    assert code == 2
    assert all(path in errors for path in FULL_PATHS)


@pytest.mark.parametrize("name", [OTHER_SHORT_NAME, *FULL_PATHS, *EXPERT_NAMES])
def test_other_names_on_the_command_line_are_understood(answers: dict[str, list], name: str) -> None:
    assert answers[name][:2] == [0, ""]


@pytest.mark.parametrize(
    ("name", "validations"), [(FULL_PATHS[1], 5), ("given", None), ("both", 3), (OTHER_SHORT_NAME, "unknown")]
)
def test_schedule_on_the_command_line_goes_first(answers: dict[str, list], name: str, validations: object) -> None:
    assert answers[name][2] == validations


def _broken(*_: object, **__: object) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.mark.parametrize("hindrance", ["folder", "file system without links"])
def test_a_training_begins_where_there_can_be_no_link_latest(
    hindrance: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if hindrance == "folder":
        (tmp_path / "latest").mkdir()
        (tmp_path / "latest" / "own.txt").touch()
    else:
        monkeypatch.setattr(Path, "symlink_to", _broken)
    assert [engine.create_versioned_dir(tmp_path).name for _ in range(2)] == ["v0", "v1"]
    assert [f"{tmp_path / 'latest'} is unchanged" in message for message in caplog.messages] == [True, True]
    assert (tmp_path / "latest" / "own.txt").exists() == (hindrance == "folder")


def test_a_results_folder_that_cannot_be_made_is_still_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        engine.create_versioned_dir(tmp_path / "file" / "results")
