# SPDX-License-Identifier: Apache-2.0
"""The accuracy benchmark: its grids go on where they stopped, and its tables say what the records do."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from benchmarks.accuracy import __main__ as accuracy
from benchmarks.accuracy import measures, methods, report, suites
from benchmarks.accuracy.conditions import DISTURBANCES
from benchmarks.common.grid import Cell
from benchmarks.common.training import TEACHER
from rd_plugin.components import Teacher
from rd_plugin.models.fused_reverse_distillation.evidence import EVIDENCE

CHECKOUT = Path(__file__).parents[2]
BACKBONE, WEIGHTS = TEACHER["backbone"], TEACHER["pre_trained"]
SMALL = ["--image-size", "64", "--batch", "4", "--workers", "0", "--threads", "1", "--device", "cpu"]


def _arguments(root: Path, records: Path, *more: object, suite: str = "folder") -> list[str]:
    return [suite, "--root", str(root), "--records", str(records), *SMALL, *map(str, more)]


def _records(records: Path) -> dict[Path, tuple[int, str]]:
    """When each record was written, and what it says."""
    return {path: (path.stat().st_mtime_ns, path.read_text()) for path in records.rglob("*.json")}


def test_grid_goes_on_where_it_stopped(mvtec_root: Path, tmp_path: Path) -> None:
    assert accuracy.main(_arguments(mvtec_root, tmp_path, "--seeds", 0, 1, "--steps", 2, "--only", "*/tile/*/0")) == 0
    first = _records(tmp_path)
    assert len(first) == 1
    assert accuracy.main(_arguments(mvtec_root, tmp_path, "--seeds", 0, 1, "--steps", 2)) == 0
    both = _records(tmp_path)
    assert len(both) == 2
    assert first.items() <= both.items()
    # Other settings are other cells, and other rows.
    assert accuracy.main(_arguments(mvtec_root, tmp_path, "--seeds", 0, "--steps", 3)) == 0
    assert both.items() <= _records(tmp_path).items()
    table = pd.read_csv(tmp_path / "folder" / "table.csv")
    assert dict(zip(table["length"], table["runs"], strict=True)) == {"2 steps": 2, "3 steps": 1}
    assert all((tmp_path / "folder" / name).stat().st_size for name in ("table.md", "table.png"))
    assert len(list((tmp_path / "folder" / "pictures").glob("*.png"))) == 1
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_kill_keeps_finished_cells(mvtec_root: Path, tmp_path: Path) -> None:
    arguments = _arguments(mvtec_root, tmp_path, "--seeds", 0, 1, "--steps", 10)
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "benchmarks.accuracy", *arguments]
    with (tmp_path / "output.txt").open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        while process.poll() is None and not list(tmp_path.rglob("*.json")):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, (tmp_path / "output.txt").read_text()[-3000:]
    killed = _records(tmp_path)
    assert len(killed) == 1
    assert accuracy.main(arguments) == 0
    assert len(_records(tmp_path)) == 2
    assert killed.items() <= _records(tmp_path).items()


def test_failed_cell_is_kept_and_the_rest_runs(mvtec_root: Path, tmp_path: Path) -> None:
    models = ["--models", "anomalib.ReverseDistillation", "ReverseDistillation", "--steps", 1]
    assert accuracy.main(_arguments(mvtec_root, tmp_path, *models)) == 1
    before = _records(tmp_path)
    contents = [json.loads(text) for _, text in before.values()]
    failure = next(content["failure"] for content in contents if "failure" in content)
    assert failure == {"type": "ValueError", "text": f"Decoder with architecture {BACKBONE} not supported"}
    assert sum("figures" in content for content in contents) == 1
    assert failure["text"] in (tmp_path / "folder" / "table.md").read_text()
    assert accuracy.main(_arguments(mvtec_root, tmp_path, *models)) == 1
    assert _records(tmp_path) == before
    assert accuracy.main(_arguments(mvtec_root, tmp_path, *models, "--retry")) == 1
    written_anew = {path for path, record in _records(tmp_path).items() if record[0] != before[path][0]}
    assert [path.name.partition("_")[0] for path in written_anew] == ["anomalib.ReverseDistillation"]


def test_all_scales_together_are_the_model(mvtec_root: Path, tmp_path: Path) -> None:
    assert accuracy.main(_arguments(mvtec_root, tmp_path, "--steps", 1)) == 0
    assert (
        accuracy.main(_arguments(mvtec_root, tmp_path, "--steps", 1, "--data", "folder", suite="ablation_scales")) == 0
    )
    figures = {path.parents[2].name: json.loads(text)["figures"] for path, (_, text) in _records(tmp_path).items()}
    scales = figures["ablation_scales"]
    assert list(scales) == ["M1", "M2", "M3", "M1+M2", "M1+M3", "M2+M3", "M1+M2+M3"]
    assert scales["M1+M2+M3"] == pytest.approx(figures["folder"][""])


def test_all_evidence_together_is_the_model(mvtec_root: Path, tmp_path: Path) -> None:
    fused = ["--steps", 1, "--models", "FusedReverseDistillation"]
    assert accuracy.main(_arguments(mvtec_root, tmp_path, *fused)) == 0
    assert accuracy.main(_arguments(mvtec_root, tmp_path, *fused, "--data", "folder", suite="ablation_evidence")) == 0
    figures = {path.parents[2].name: json.loads(text)["figures"] for path, (_, text) in _records(tmp_path).items()}
    kinds = figures["ablation_evidence"]
    assert kinds["all"] == pytest.approx(figures["folder"][""])
    assert len(kinds) == 1 + 2 * len(EVIDENCE)
    # The map shows nothing of the image as a whole.
    assert kinds["without image"]["map_mean_AUROC"] == kinds["all"]["map_mean_AUROC"]
    assert kinds["image alone"]["map_mean_AUROC"] == 0.5


def test_what_is_done_to_images_makes_other_cells(mvtec_root: Path, tmp_path: Path) -> None:
    """The same model on images as they are, and turned: few to train on, light evened, and disturbed when tested."""
    padim = ["--models", "anomalib.Padim", "--model-args", "anomalib.Padim:n_features=8"]
    assert accuracy.main(_arguments(mvtec_root, tmp_path, *padim)) == 0
    before = _records(tmp_path)
    done = ["--turned", "--light", "--disturb", "--train-images", 5]
    assert accuracy.main(_arguments(mvtec_root, tmp_path, *padim, *done)) == 0
    assert before.items() < _records(tmp_path).items()
    (content,) = [json.loads(text) for path, (_, text) in _records(tmp_path).items() if path not in before]
    asked = {"turned": "black", "light": 1.0, "disturbed": True, "train_images": 5, "draw": 0}
    assert {name: content["settings"][name] for name in asked} == asked
    assert content["images"]["train"] == 5
    assert content["image_cpu_ms"] > 0
    assert list(content["figures"]) == ["", *DISTURBANCES]
    # Disturbed images were judged anew, by the same model.
    judged = [tuple(figures.items())[:3] for figures in content["figures"].values()]
    assert len(set(judged)) > len(DISTURBANCES) / 2
    assert ["pixel_AUROC" in figures for figures in content["figures"].values()] == [True] + len(DISTURBANCES) * [False]
    table = pd.read_csv(tmp_path / "folder" / "table.csv").set_index(["model", "images"])["runs"]
    name, images = "anomalib.Padim(n_features=8)", "turned, black corners, 5 to train on"
    assert table[name, "as they are"] == 1
    assert table[f"{name}, light evened", images] == table[f"{name}, light evened", f"{images}, JPEG 60"] == 1


def _grid(root: Path, *more: str) -> list[Cell]:
    arguments = ["folder", "--root", str(root), "--models", "FusedReverseDistillation", "anomalib.Padim", *more]
    options = accuracy.build_parser().parse_args(arguments)
    return accuracy.grid(argparse.Namespace(**{**vars(options), "what": "folder"}))


def test_light_is_evened_once(mvtec_root: Path) -> None:
    """The fused model does it by itself: --light makes no other cell of it."""
    (fused, padim), (fused_light, padim_light) = _grid(mvtec_root), _grid(mvtec_root, "--light", "0.5")
    assert fused.settings == fused_light.settings
    assert padim_light.settings == {**padim.settings, "light": 0.5}


def test_each_draw_is_a_cell(mvtec_root: Path) -> None:
    cells = _grid(mvtec_root, "--train-images", "20", "--draws", "3")
    drawn = {(cell.settings["model"], cell.settings["draw"]) for cell in cells}
    assert len(drawn) == len(cells) == 6
    assert all(cell.settings["train_images"] == 20 and "20 to train on" in cell.name for cell in cells)


def test_wrong_arguments_end_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for arguments, message in (
        (["folder", "--root", str(tmp_path)], "a folder with */train/good"),
        (["solar", "--models", "anomalib.Nothing"], "model 'anomalib.Nothing' is unknown"),
        (["solar", "--only", "*/tri/*"], "--only */tri/* leaves none of 2 cells, such as 'solar/mono/"),
    ):
        with pytest.raises(SystemExit):
            accuracy.main([*arguments, "--records", str(tmp_path)])
        assert message in capsys.readouterr().err


def test_categories_of_each_suite(tmp_path: Path) -> None:
    categories = suites.categories
    counts = {data: len(categories(data, None)) for data in ("mvtec", "visa", "one_class", "solar")}
    assert counts == {"mvtec": 15, "visa": 12, "one_class": 30, "solar": 2}
    for folder in ("parts/train/cat", "parts/train/dog", "parts/test/cat"):
        (tmp_path / folder).mkdir(parents=True)
    (_, _, first), (data, category, build) = categories("one_class", tmp_path / "parts")
    assert (data, category, build().normal_class, first().normal_class) == ("parts", "dog", "dog", "cat")


@pytest.mark.parametrize("name", ["anomalib.Patchcore", "anomalib.Stfpm"])
def test_peers_have_our_teacher(name: str) -> None:
    model = methods.build(name, {}, BACKBONE, WEIGHTS, image_size=64)
    teacher = Teacher(BACKBONE, pre_trained=WEIGHTS)
    images = torch.rand(1, 3, 64, 64)
    extractor = getattr(model.model, "teacher_model", None) or model.model.feature_extractor
    ours = dict(zip(teacher.pyramid.distilled, teacher(images), strict=True))
    theirs = extractor(images)
    assert list(theirs) == list(ours)[-len(theirs) :]
    for layer, features in theirs.items():
        # Another memory format rounds otherwise.
        torch.testing.assert_close(features, ours[layer], rtol=1e-3, atol=1e-4)


def test_peer_takes_a_backbone_with_a_tag() -> None:
    model = methods.build("anomalib.ReverseDistillation", {}, "resnet18.tv_in1k", pre_trained=False, image_size=64)
    assert model.layers == ["layer1", "layer2", "layer3"]


def _write_record(folder: Path, category: str, seed: int, *figures: float) -> None:
    """A record of a model on a category of MVTec AD, written by hand."""
    settings = {
        "data": "MVTecAD",
        "category": category,
        "model": "ReverseDistillation",
        "backbone": "resnet18",
        "pre_trained": True,
        "scales": "all",
        "image_size": 256,
        "length": {"epochs": 200},
        "batch": 16,
        "devices": 1,
        "seed": seed,
        "arguments": {},
    }
    names = ("image_AUROC", "pixel_AUROC", "pixel_AUPRO_per_image")
    content = {"settings": settings, "figures": {"": dict(zip(names, figures, strict=True))}, "train_seconds": 1}
    path = folder / "MVTecAD" / category / f"{seed}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**content, "date": "2026-01-01"}))


def test_table_says_what_the_records_do(tmp_path: Path) -> None:
    _write_record(tmp_path, "carpet", 0, 0.90, 0.80, 0.70)
    _write_record(tmp_path, "carpet", 1, 0.94, 0.82, 0.70)
    _write_record(tmp_path, "grid", 0, 0.80, 0.70, 0.60)
    _write_record(tmp_path, "grid", 1, 0.88, 0.70, 0.60)
    # A seed without all categories does not enter their mean.
    _write_record(tmp_path, "carpet", 2, 0.95, 0.90, 0.80)
    rows = report.summarize(report.long_table(tmp_path)).set_index(["model", "category"])
    carpet, mean = (rows.loc["ReverseDistillation", category] for category in ("carpet", "mean"))
    assert carpet["runs"] == 3
    assert carpet["image_AUROC"] == pytest.approx((0.90 + 0.94 + 0.95) / 3)
    assert (mean["runs"], mean["categories"]) == (2, 2)
    # Means over categories are 0.85 and 0.91; two values are sqrt(2) standard deviations apart.
    assert mean["image_AUROC"] == pytest.approx(0.88)
    assert mean["image_AUROC_std"] == pytest.approx(0.06 / 2**0.5)
    assert mean["pixel_AUROC"] == pytest.approx((0.75 + 0.76) / 2)
    published = rows.loc["RD4AD, published", "mean"]
    assert (published["image_AUROC"], published["categories"]) == (0.985, 15)


def test_newest_record_of_a_run_counts(tmp_path: Path) -> None:
    """A run with disturbances is a run without them, too."""
    _write_record(tmp_path, "carpet", 0, 0.90, 0.80, 0.70)
    content = json.loads((tmp_path / "MVTecAD" / "carpet" / "0.json").read_text())
    content["settings"]["disturbed"] = True
    figures = content["figures"][""]
    content |= {"date": "2026-01-02", "figures": {"": {**figures, "image_AUROC": 0.91}, "JPEG 60": figures}}
    (tmp_path / "disturbed.json").write_text(json.dumps(content))
    rows = report.summarize(report.long_table(tmp_path)).dropna(subset="runs").set_index("images")
    assert rows["runs"].to_dict() == {"as they are": 1, "JPEG 60": 1}
    assert rows["image_AUROC"].to_dict() == {"as they are": 0.91, "JPEG 60": 0.90}


def test_overlap_of_each_image_alone() -> None:
    """Of 14 good pixels 4.2 may be called defects, and after two of them the second half of the first region is."""
    maps = torch.linspace(0, 0.5, 48).reshape(3, 4, 4)
    masks = torch.zeros(3, 4, 4, dtype=torch.bool)
    masks[:2, 1, 1:3] = True
    maps[0, 1, 1], maps[0, 0, 0], maps[0, 3, 3], maps[0, 1, 2] = 1.0, 0.9, 0.8, 0.7
    maps[1, 1, 1:3] = torch.tensor([0.99, 0.98])
    pixels = measures.PixelMetrics(masks)
    first = (0.5 * 2 / 14 + (0.3 - 2 / 14)) / 0.3
    assert pixels.per_image(maps) == pytest.approx((first + 1.0) / 2)
    # Pooled, those two are two of 44 good pixels, and of four halves of regions one comes after them.
    assert pixels(maps)["pixel_AUPRO"] == pytest.approx((0.75 * 2 / 44 + (0.3 - 2 / 44)) / 0.3)


def test_scores_beyond_one_keep_their_order() -> None:
    scores = torch.tensor([300.0, 100.0, 400.0, 200.0])
    labels = torch.tensor([True, False, True, True])
    assert measures.area_under_roc(scores, labels) == 1.0
    with pytest.raises(ValueError, match="1 of 4 scores are not finite"):
        measures.area_under_roc(torch.tensor([300.0, float("nan"), 400.0, 200.0]), labels)
