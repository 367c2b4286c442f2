# SPDX-License-Identifier: Apache-2.0
"""The configurations that the project ships can be read and built."""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml
from anomalib.cli import AnomalibCLI

from rd_plugin import ExpertReverseDistillation, ReverseDistillation, RevisitedReverseDistillation
from rd_plugin.models.distillation import Distillation

from .conftest import Method

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


class Built(NamedTuple):
    """What a configuration builds, without the networks."""

    method: type
    arguments: dict[str, Any]
    batch_size: int
    has_visualizer: bool
    input_size: tuple[int, int] | None


@cache
def build(config: Path) -> Built:
    """Build a configuration, which writes nothing, once for all tests."""
    # The papers' networks have a hundred million weights, and none is read here.
    with torch.device("meta"):
        cli = AnomalibCLI(["train", "--config", str(config)], run=False)
    assert not list(Path.cwd().iterdir())
    model = cli.model
    arguments, batch_size = dict(model.hparams), cli.datamodule.train_batch_size
    return Built(type(model), arguments, batch_size, model.visualizer is not None, model.input_size)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_configuration_builds_model_and_data(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    built = build(config)
    assert issubclass(built.method, Distillation)
    assert built.batch_size == 16


@pytest.mark.parametrize(
    ("method", "stem"),
    [
        (ReverseDistillation, "mvtec"),
        (ExpertReverseDistillation, "mvtec_expert"),
        (RevisitedReverseDistillation, "mvtec_rdpp"),
    ],
    indirect=["method"],
)
def test_mvtec_recipe_is_the_default_one(
    method: Method,
    stem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The recipe spelled out says what the model does by itself."""
    monkeypatch.chdir(tmp_path)
    (config,) = [path for path in CONFIGS if path.stem == stem]
    built = build(config)
    assert built.method is method
    with torch.device("meta"):
        written, default = dict(built.arguments), dict(method().hparams)
    assert written.pop("layers") == ["layer1", "layer2", "layer3"]
    assert default.pop("layers") is None
    assert written == default


def test_one_class_recipes_differ_from_the_default_in_teacher_and_size(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    recipes = {path.stem: yaml.safe_load(path.read_text()) for path in CONFIGS if path.stem.startswith("one_class_")}
    sources = {stem: recipe["data"]["init_args"].pop("source") for stem, recipe in recipes.items()}
    stems = {"one_class_cifar10": "CIFAR10", "one_class_mnist": "MNIST", "one_class_fashion_mnist": "FashionMNIST"}
    assert sources == stems
    recipe = recipes.pop("one_class_cifar10")
    assert all(other == recipe for other in recipes.values())
    assert recipe["trainer"] == {"max_epochs": 200}
    (config,) = [path for path in CONFIGS if path.stem == "one_class_cifar10"]
    built = build(config)
    default = dict(ReverseDistillation("resnet18").hparams)
    assert {name: value for name, value in built.arguments.items() if value != default[name]} == {
        "backbone": "resnet18.tv_in1k",
        "layers": ["layer1", "layer2", "layer3"],
        "on_bad_data": "warn",
    }
    assert not built.has_visualizer
    assert built.input_size == (32, 32)


def test_dinomaly_recipe_is_the_default_one_in_the_papers_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (config,) = [path for path in CONFIGS if path.stem == "dinomaly"]
    # A tiny teacher in place of the paper's, whose weights nobody needs here; its patches have 16 pixels, not 14.
    tiny = ["--model.backbone", "test_vit"]
    recipe = yaml.safe_load(config.read_text())
    steps = recipe["model"]["init_args"]["pre_processor"]["init_args"]["transform"]["init_args"]["transforms"]
    assert [step["init_args"].get("size") for step in steps] == [[448, 448], [392, 392], None]
    steps[1]["init_args"]["size"] = [400, 400]
    (tmp_path / "dinomaly.yaml").write_text(yaml.safe_dump(recipe))
    model = AnomalibCLI(["train", "--config", "dinomaly.yaml", *tiny], run=False).model
    assert model.resized_to == [400, 400]
    assert dict(model.hparams) == dict(ReverseDistillation("test_vit").hparams)
    assert recipe["trainer"] == {"max_steps": model.default_max_steps}
