# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin`` as a program of its own, and the same through anomalib's."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from anomalib.cli import AnomalibCLI

import rd_plugin
from rd_plugin import PartsFolder, ReverseDistillation

from ..processes import run_function, run_program
from .conftest import BACKBONE, LAYERS, WEIGHTS, cpu_engine, run_cli

FOLDER_CONFIG = Path(__file__).parents[2] / "configs" / "folder.yaml"
SMALL = (
    *("--model.backbone", BACKBONE, "--model.pre_trained", WEIGHTS, "--model.layers", str(LAYERS)),
    *("--model.image_size", "[64, 48]"),
    *("--data.num_workers", "0", "--data.train_batch_size", "4"),
    *("--trainer.accelerator", "cpu", "--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false"),
)


# The second is trained on by the tool, too.
@pytest.fixture(
    params=["good", pytest.param("good and defect", marks=pytest.mark.slow), "good, defect and mask"],
)
def parts(request: pytest.FixtureRequest, tmp_path: Path, mvtec_root: Path) -> Path:
    """A folder of parts, with a name that is not ASCII."""
    root = tmp_path / "Prüfteile 2024"
    shutil.copytree(mvtec_root / "tile" / "train" / "good", root / "good")
    if "defect" in request.param:
        shutil.copytree(mvtec_root / "tile" / "test" / "stain", root / "defect" / "stain")
    if "mask" in request.param:
        shutil.copytree(mvtec_root / "tile" / "ground_truth" / "stain", root / "mask" / "stain")
    return root


def test_seed_decides_the_weights_in_every_form_of_the_command(tmp_path: Path, mvtec_root: Path) -> None:
    """Bit for bit, and the record has the seed."""
    weights = []
    data = ("--data", "rd_plugin.MVTec", "--data.root", mvtec_root, "--data.category", "tile")
    command = ("fit", "--model", "rd_plugin.ReverseDistillation", *data, *SMALL, "--seed_everything", "3")
    for program in ("rd_plugin", "rd-plugin", "anomalib"):
        folder = tmp_path / program
        folder.mkdir()
        run_cli(folder, *command, program=program)
        (checkpoint,) = folder.glob("results/**/v0/weights/lightning/model.ckpt")
        assert json.loads(checkpoint.with_suffix(".json").read_text())["seed"] == 3
        weights.append(torch.load(checkpoint, weights_only=False)["state_dict"])
    first, *others = weights
    for other in others:
        assert first.keys() == other.keys()
        assert all(first[name].equal(other[name]) for name in first)


@pytest.mark.parametrize("parts", ["good and defect"], indirect=True)
def test_from_a_folder_to_verdicts_from_any_directory(parts: Path) -> None:
    """The commands that the summary names are those that go on."""
    folder = parts.parent
    arguments = ("train", "--config", "folder", "--data.root", parts.name, *SMALL)
    trained = run_cli(folder, *arguments, program="rd-plugin")
    assert "12 good images, 4 defects, no masks" in trained
    checkpoint = "results/FusedReverseDistillation/Prüfteile 2024/v0/weights/lightning/model.ckpt"
    assert f"rd-plugin inspect '{checkpoint}' FOLDER" in trained
    inspected = run_cli(folder, "inspect", checkpoint, f"{parts.name}/defect", program="rd-plugin")
    assert inspected.count("Prüfteile 2024/defect/stain/00") == 4


def test_wrong_input_is_one_sentence(tmp_path: Path) -> None:
    done = run_function(tmp_path, run_program, "rd-plugin", "train", "--config", "quickstrat")
    assert done.status == 2
    assert done.output.splitlines()[-1].startswith("rd-plugin: error: config: ")
    assert "Did you mean 'quickstart'?" in done.output
    assert "Traceback" not in done.output


def test_configuration_of_a_folder_through_anomalib(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(parts.parent)
    cli = AnomalibCLI(["train", "--config", str(FOLDER_CONFIG), "--data.root", parts.name, *SMALL])
    defects = {"image_AUROC", "image_F1Score"} if (parts / "defect").exists() else set()
    masks = {"pixel_AUROC", "pixel_F1Score", "pixel_AUPRO"} if (parts / "mask").exists() else set()
    assert set(cli.engine.trainer.callback_metrics) == defects | masks
    assert cli.model.post_processor.expected_false_alarms is not None


@pytest.mark.parametrize("parts", ["good"], indirect=True)
def test_python_equivalent(parts: Path, tmp_path: Path) -> None:
    model = ReverseDistillation(backbone=BACKBONE, pre_trained=WEIGHTS, image_size=(64, 48))
    engine = cpu_engine(tmp_path, max_epochs=1)
    engine.train(model=model, datamodule=PartsFolder(parts, num_workers=0))
    assert Path(engine.best_model_path).is_file()
    assert rd_plugin.PartsFolder(parts).name in engine.best_model_path
