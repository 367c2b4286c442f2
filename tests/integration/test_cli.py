# SPDX-License-Identifier: Apache-2.0
"""Every subcommand of anomalib's command line with the plugin's models."""

import runpy
import sys
from pathlib import Path

import numpy as np
import openvino
import pytest
import yaml
from anomalib.cli import AnomalibCLI
from PIL import Image

from .conftest import (
    BACKBONE,
    SIZE,
    Method,
    Trained,
    data_config,
    export_as_on_the_card,
    one_method,
    run_cli,
    small_model,
    write_config,
)

METRICS = {"image_AUROC", "image_F1Score", "pixel_AUROC", "pixel_F1Score", "pixel_AUPRO"}


def test_train_prints_metrics_and_writes_pictures(trained: Trained) -> None:
    assert all(metric in trained.output for metric in METRICS)
    pictures = list(trained.checkpoint.parents[2].glob("images/**/*.png"))
    assert len(pictures) == 12
    assert np.asarray(Image.open(pictures[0])).std() > 0


def test_train_as_on_the_design_card(method: Method, tmp_path: Path, mvtec_root: Path) -> None:
    """The card's words, with what any user adds: the data's place, and limits so that the test ends."""
    (tmp_path / "elsewhere").mkdir()
    output = run_cli(
        tmp_path / "elsewhere",
        *("train", "--model", f"rd_plugin.{method.__name__}", "--data", "MVTec"),
        *("--data.root", mvtec_root, "--data.category", "tile", "--data.num_workers", 0),
        *("--model.backbone", BACKBONE, "--model.pre_trained", "false", "--model.image_size", SIZE),
        *("--trainer.max_steps", 1, "--trainer.accelerator", "cpu"),
    )
    assert "image_AUROC" in output
    assert "has random weights" in output


def test_export_as_on_the_design_card(exported: Path) -> None:
    """The model's own arguments need not be repeated, and no weights are downloaded: the checkpoint has them all."""
    assert openvino.Core().read_model(exported).inputs[0].partial_shape[0].is_dynamic


@one_method
@pytest.mark.parametrize(
    ("export_type", "suffix"), [("torch", "pt"), pytest.param("onnx", "onnx", marks=pytest.mark.slow)]
)
def test_other_exports(trained: Trained, tmp_path: Path, export_type: str, suffix: str) -> None:
    assert (export_as_on_the_card(trained, tmp_path, export_type) / f"model.{suffix}").is_file()


@pytest.mark.parametrize("subcommand", ["fit", "validate", "test"])
def test_trainer_subcommands(
    subcommand: str,
    trained: Trained,
    tmp_path: Path,
    mvtec_root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    config = write_config(tmp_path / "config.yaml", model=small_model(trained.method), data=data_config(mvtec_root))
    checkpoint = [] if subcommand == "fit" else ["--ckpt_path", str(trained.checkpoint)]
    cli = AnomalibCLI([subcommand, "--config", str(config), *checkpoint])
    if subcommand == "test":
        assert set(cli.engine.trainer.callback_metrics) == METRICS
    assert not cli.model.post_processor.image_threshold.isnan()
    assert len(list(tmp_path.glob("results/**/*.ckpt"))) == (subcommand == "fit")


def test_predict(trained: Trained, tmp_path: Path, mvtec_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = write_config(tmp_path / "config.yaml", model=small_model(trained.method))
    images = str(mvtec_root / "tile" / "test" / "stain")
    cli = AnomalibCLI(
        ["predict", "--config", str(config), "--data", images, "--ckpt_path", str(trained.checkpoint)],
        run=False,
    )
    batches = cli.engine.predict(model=cli.model, data_path=images, ckpt_path=trained.checkpoint)
    assert len(batches) == 4
    assert all(batch.anomaly_map.shape[-2:] == (64, 64) and batch.pred_label is not None for batch in batches)


@one_method
def test_module_takes_arguments_in_any_order(method: Method, tmp_path: Path, mvtec_root: Path) -> None:
    output = run_cli(
        tmp_path,
        *("fit", "--data", "MVTec", "--data.root", mvtec_root, "--data.category", "tile"),
        *("--data.num_workers", 0, "--model", f"rd_plugin.{method.__name__}", "--model.backbone", BACKBONE),
        *("--model.pre_trained", "false", "--model.image_size", SIZE),
        *("--trainer.max_steps", 1, "--trainer.accelerator", "cpu", "-v"),
        program="rd_plugin",
    )
    assert "max_steps=1" in output


@pytest.mark.slow
@one_method
def test_benchmark_takes_the_plugin(
    method: Method,
    tmp_path: Path,
    mvtec_root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """anomalib's grid pipeline gives no limit, so the default one is shortened here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(method, "default_max_epochs", 1)
    data = data_config(mvtec_root)
    data["class_path"] = "MVTecAD"
    model = {
        "class_path": f"rd_plugin.{method.__name__}",
        "init_args": {"backbone": "resnet18", "pre_trained": False, "layers": ["layer2", "layer3"]},
    }
    benchmark = {"seed": 0, "model": {**model, "init_args": {**model["init_args"]}}, "data": data}
    benchmark["model"]["init_args"]["score"] = {"grid": ["max", "mean"]}
    (tmp_path / "benchmark.yaml").write_text(yaml.safe_dump({"accelerator": "cpu", "benchmark": benchmark}))
    monkeypatch.setattr(sys, "argv", ["rd_plugin", "benchmark", "--config", "benchmark.yaml"])
    runpy.run_module("rd_plugin", run_name="__main__")
    (table,) = tmp_path.glob("runs/benchmark/**/results.csv")
    lines = table.read_text().splitlines()
    assert len(lines) == 3
    assert "image_AUROC" in lines[0]


def test_resolved_configuration_is_plain(trained: Trained) -> None:
    """The configuration that a run leaves behind has no Python objects, and names classes by their public paths."""
    text = (trained.checkpoint.parents[2] / "config.yaml").read_text()
    # Tuples and other objects would be tagged.
    assert "!!" not in text
    config = yaml.safe_load(text)
    assert config["model"]["class_path"] == f"rd_plugin.{trained.method.__name__}"
    assert config["data"]["class_path"] == "rd_plugin.MVTec"


def test_seed_of_the_command_line_is_used_and_kept(trained: Trained) -> None:
    assert "Seed set to 0" in trained.output
    assert yaml.safe_load((trained.checkpoint.parents[2] / "config.yaml").read_text())["seed_everything"] == 0
