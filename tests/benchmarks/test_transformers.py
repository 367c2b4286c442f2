# SPDX-License-Identifier: Apache-2.0
"""The suite of vision transformers: its grid, one model for all categories, and a run without weights."""

import argparse
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import timm
import torch
from safetensors.torch import save_file

from benchmarks.accuracy import __main__ as accuracy
from benchmarks.accuracy import report, transformers
from benchmarks.accuracy.cells import evaluate
from benchmarks.accuracy.joined import Joined
from benchmarks.accuracy.suites import categories
from benchmarks.common.grid import Cell
from benchmarks.common.records import read, write
from rd_plugin.comparison import methods

VIT = "vit_small_patch14_reg4_dinov2"
PEERS = ["anomalib.Dinomaly", "anomalib.InpFormer", "anomalib.AnomalyDINO", "anomalib.Patchcore"]
# What makes a run of random weights on images of 56 pixels.
SMALL = f"--backbones {VIT}=false resnet18=false --image-size 64 --crop 56 --steps 2 --batch 4 --threads 1".split()


@pytest.fixture(scope="module")
def root(mvtec_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two categories in MVTec AD's layout below ``mvtec``, and two of VisA below ``visa``."""
    root = tmp_path_factory.mktemp("transformers")
    for category in ("bottle", "carpet"):
        shutil.copytree(mvtec_root / "tile", root / "mvtec" / category)
    for category in ("candle", "pcb1"):
        visa = root / "visa" / "visa_pytorch" / category
        shutil.copytree(mvtec_root / "tile" / "train" / "good", visa / "train" / "good")
        shutil.copytree(mvtec_root / "tile" / "test" / "good", visa / "test" / "good")
        shutil.copytree(mvtec_root / "tile" / "test" / "stain", visa / "test" / "bad")
        for mask in (mvtec_root / "tile" / "ground_truth" / "stain").iterdir():
            (visa / "ground_truth" / "bad").mkdir(parents=True, exist_ok=True)
            shutil.copy(mask, visa / "ground_truth" / "bad" / mask.name.replace("_mask", ""))
    return root


def _grid(*arguments: object) -> list[Cell]:
    options = accuracy.build_parser().parse_args(["transformers", *map(str, arguments)])
    return accuracy.grid(argparse.Namespace(**{**vars(options), "what": "transformers"}))


def _joined(root: Path) -> Joined:
    builds = {name: build for _, name, build in categories("mvtec", root / "mvtec") if name in {"bottle", "carpet"}}
    data = Joined(builds, train_batch_size=4, eval_batch_size=4, num_workers=0)
    data.prepare_data()
    data.setup()
    return data


def test_grid_has_all_teachers_models_and_data() -> None:
    cells = _grid()
    # 15 and 12 categories and all of each; six models of each of three ViTs, and four of the ResNet.
    assert len(cells) == (15 + 1 + 12 + 1) * (3 * 6 + 4)
    found = {
        (cell.settings["model"], cell.settings["backbone"], cell.settings["joined"] is not None): cell.settings
        for cell in cells
    }
    small, base, dinov3, resnet = transformers.BACKBONES
    assert {model for model, backbone, _ in found if backbone == dinov3} > set(PEERS)
    for joined, steps in ((False, 5000), (True, 10_000)):
        for name in ("ReverseDistillation", "anomalib.Dinomaly", "anomalib.InpFormer"):
            assert [found[name, base, joined][key] for key in ("steps", "epochs")] == [steps, None]
        assert found["FusedReverseDistillation", base, joined]["steps"] == 400
        assert found["anomalib.AnomalyDINO", small, joined]["epochs"] == 1
        assert found["RevisitedReverseDistillation", resnet, joined]["epochs"] == 200
    sizes = {backbone: (settings["image_size"], settings["crop"]) for (_, backbone, _), settings in found.items()}
    assert sizes == {small: (448, 392), base: (448, 392), dinov3: (512, 448), resnet: (256, None)}
    (whole,) = {tuple(cell.settings["joined"]) for cell in cells if cell.settings["category"] == "all 12"}
    assert len(whole) == 12


def test_grid_can_be_narrowed(root: Path) -> None:
    asked = ["--data", "mvtec", "--root", root / "mvtec", "--categories", "bottle", "--models", "anomalib.Dinomaly"]
    cells = _grid(*asked, *SMALL)
    assert [cell.name for cell in cells] == [
        f"MVTecAD/{category}/anomalib.Dinomaly/as they are/{VIT}/0" for category in ("bottle", "all 1")
    ]
    assert {cell.settings["pre_trained"] for cell in cells} == {"false"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "anomalib.Padim"], "--models anomalib.Padim: transformers compares ReverseDistillation, "),
        (["--root", "here"], "--root is where one data set is, and --data are 2: mvtec, visa."),
        (["--categories", "screws"], "--categories screws: mvtec has bottle, cable, "),
        (["--data", "one_class"], "--one-model-for all: what is normal for one class"),
    ],
)
def test_wrong_arguments(arguments: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _grid(*arguments)


def test_joined_images_keep_their_category(root: Path) -> None:
    data = _joined(root)
    counts = [len(images) for part in data.parts.values() for images in (part.train_data, part.test_data)]
    assert (len(data.train_data), len(data.test_data)) == (counts[0] + counts[2], counts[1] + counts[3])
    paths = list(data.test_data.samples["image_path"])
    for category, chosen in data.chosen(paths).items():
        assert [path for path, one in zip(paths, chosen, strict=True) if one] == [
            path for path in paths if f"/{category}/" in path
        ]


def test_joined_figures_are_those_of_each_category(root: Path) -> None:
    data = _joined(root)
    model = methods.build("ReverseDistillation", {"student_depth": 2}, "test_vit", "false", 80, crop=64)
    assert list(model.resized_to or ()) == [64, 64]
    rows = {row["tested"]: row for row in evaluate(model, data, "cpu", "all")}
    assert list(rows) == ["bottle", "carpet"]
    for category, part in data.parts.items():
        (alone,) = evaluate(model, part, "cpu", "all")
        names = [name for name in alone if name.startswith(("image_", "map_", "pixel_"))]
        assert len(names) == 6
        assert {name: alone[name] for name in names} == pytest.approx({name: rows[category][name] for name in names})


def test_table_has_the_mean_over_the_categories_of_one_model(tmp_path: Path) -> None:
    settings = {
        "data": "MVTecAD",
        "category": "all 2",
        "joined": ["bottle", "carpet"],
        "model": "ReverseDistillation",
        "backbone": VIT,
        "pre_trained": "true",
        "image_size": 448,
        "crop": 392,
        "steps": 10_000,
        "epochs": None,
        "batch": 16,
        "devices": 1,
        "seed": 0,
        "arguments": {},
    }
    rows = [{"tested": name, "image_AUROC": auroc} for name, auroc in (("bottle", 1.0), ("carpet", 0.9))]
    write(tmp_path / "transformers.parquet", settings, [{**row, "date": "2026-01-01"} for row in rows])
    shown = report.show(report.load(tmp_path / "transformers.parquet"))
    assert "size 392 of 448 px, length 10000 steps" in shown
    lines = shown.splitlines()
    assert "| mean | ReverseDistillation | all 2 | 1 | 0.950 |" in lines
    assert "| carpet | ReverseDistillation | all 2 | 1 | 0.900 |" in lines
    assert any(line.startswith("| mean | Dinomaly, published | all 15 |  | 0.996 |") for line in lines)


@pytest.mark.parametrize("name", PEERS)
def test_peers_have_the_teachers_weights(name: str, tmp_path: Path) -> None:
    teacher = timm.create_model(VIT)
    save_file(teacher.state_dict(), tmp_path / "teacher.safetensors")
    model = methods.build(name, {}, f"{VIT}.lvd142m", str(tmp_path / "teacher.safetensors"), 64, crop=56)
    (extractor,) = [module for module in model.modules() if type(module).__name__ == "TimmFeatureExtractor"]
    for weight in ("patch_embed.proj.weight", "blocks.11.mlp.fc2.weight"):
        theirs = extractor.feature_extractor.get_parameter(weight)
        assert torch.equal(theirs, teacher.get_parameter(weight))
    if name == "anomalib.Patchcore":
        assert extractor.layers == ["blocks.5", "blocks.9"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "parts", "only"),
    [("mvtec", ["bottle", "carpet"], "all 2"), ("visa", ["candle", "pcb1"], "all 2"), ("visa", ["candle"], "candle")],
)
def test_run_without_weights(
    root: Path, tmp_path: Path, data: str, parts: list[str], only: str, capsys: pytest.CaptureFixture
) -> None:
    """All but weights and data is as on a machine with a network; what is done is not run again."""
    place = ["--data", data, "--root", str(root / data), "--categories", *parts, "--only", only]
    arguments = ["transformers", *place, *SMALL, "--device", "cpu", "--workers", "0", "--records", str(tmp_path)]
    assert accuracy.main(arguments) == 0, capsys.readouterr().out
    rows = read(tmp_path / "transformers.parquet")
    assert len(rows) == 10 * (len(parts) if only == "all 2" else 1)
    assert rows["failure"].isna().all()
    assert rows["image_AUROC"].between(0, 1).all()
    assert rows["pixel_AUPRO"].between(0, 1).all()
    assert (rows["count_normal"] * rows["count_anomalous"] > 0).all()
    if only == "all 2":
        assert {tuple(json.loads(names)) for names in rows["joined"]} == {tuple(parts)}
    capsys.readouterr()
    assert accuracy.main(arguments) == 0
    pd.testing.assert_frame_equal(read(tmp_path / "transformers.parquet"), rows)
    assert f"| {VIT} (random weights) | 56 of 64 px |" in capsys.readouterr().out
