# SPDX-License-Identifier: Apache-2.0
"""The accuracy benchmark: its grids go on where they stopped, and its tables say what the records do."""

import argparse
from pathlib import Path

import pandas as pd
import pytest
import torch

from benchmarks.accuracy import __main__ as accuracy
from benchmarks.accuracy import measures, report, suites
from benchmarks.accuracy.perturbations import PERTURBATIONS
from benchmarks.common.grid import Cell
from benchmarks.common.records import read, write
from rd_plugin.models.fused_reverse_distillation.evidence import EVIDENCE

NETWORKS = ["--backbone", "test_resnet", "--pre-trained", "false"]
SMALL = [*NETWORKS, "--image-size", "64", "--batch", "4", "--workers", "0", "--threads", "1", "--device", "cpu"]


def _arguments(root: Path, records: Path, *more: object, suite: str = "folder") -> list[str]:
    return [suite, "--root", str(root), "--records", str(records), *SMALL, *map(str, more)]


def test_grid_goes_on_where_it_stopped(mvtec_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert accuracy.main(_arguments(mvtec_root, tmp_path, "--seeds", 0, 1, "--steps", 2, "--only", "*/tile/*/0")) == 0
    first = read(tmp_path / "folder.parquet")
    assert len(first) == 1
    assert accuracy.main(_arguments(mvtec_root, tmp_path, "--seeds", 0, 1, "--steps", 2)) == 0
    both = read(tmp_path / "folder.parquet")
    pd.testing.assert_frame_equal(both[:1], first)
    assert both["seed"].tolist() == [0, 1]
    # Other settings are other cells, and other rows.
    assert accuracy.main(_arguments(mvtec_root, tmp_path, "--seeds", 0, "--steps", 3)) == 0
    pd.testing.assert_frame_equal(read(tmp_path / "folder.parquet")[:2], both)
    capsys.readouterr()
    assert accuracy.main(["table", "--records", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "| tile | ReverseDistillation | 2 steps | 2 |" in printed
    assert "| tile | ReverseDistillation | 3 steps | 1 |" in printed
    assert not list(tmp_path.rglob("*.partial"))


def _parts(records: Path, suite: str) -> dict[str, dict[str, float]]:
    """Figures of the parts of a suite's only run."""
    rows = read(records / f"{suite}.parquet").set_index("part")
    return rows[[*rows.columns.intersection(list(measures.METRICS))]].to_dict("index")


def test_all_scales_together_are_the_model(mvtec_root: Path, tmp_path: Path) -> None:
    assert accuracy.main(_arguments(mvtec_root, tmp_path, "--steps", 1)) == 0
    ablation = _arguments(mvtec_root, tmp_path, "--steps", 1, "--data", "folder", suite="ablation_scales")
    assert accuracy.main(ablation) == 0
    scales = _parts(tmp_path, "ablation_scales")
    assert list(scales) == ["M1", "M2", "M3", "M1+M2", "M1+M3", "M2+M3", "M1+M2+M3"]
    assert scales["M1+M2+M3"] == pytest.approx(_parts(tmp_path, "folder")[""])


def test_all_evidence_together_is_the_model(mvtec_root: Path, tmp_path: Path) -> None:
    # Statistics of fewer places: they take most of the time.
    fused = ["--steps", 1, "--models", "FusedReverseDistillation", "--image-size", 32]
    assert accuracy.main(_arguments(mvtec_root, tmp_path, *fused)) == 0
    assert accuracy.main(_arguments(mvtec_root, tmp_path, *fused, "--data", "folder", suite="ablation_evidence")) == 0
    kinds = _parts(tmp_path, "ablation_evidence")
    assert kinds["all"] == pytest.approx(_parts(tmp_path, "folder")[""])
    assert len(kinds) == 1 + 2 * len(EVIDENCE)
    # The map shows nothing of the image as a whole.
    assert kinds["without image"]["map_mean_AUROC"] == kinds["all"]["map_mean_AUROC"]
    assert kinds["image alone"]["map_mean_AUROC"] == 0.5


def test_changes_to_images_make_other_cells(mvtec_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The same model on images as they are; and turned, few, brightness normalized, perturbed for the test."""
    padim = ["--models", "anomalib.Padim", "--model-args", "anomalib.Padim:n_features=8"]
    assert accuracy.main(_arguments(mvtec_root, tmp_path, *padim)) == 0
    before = read(tmp_path / "folder.parquet")
    capsys.readouterr()
    done = ["--turned", "--train-images", 5, "--brightness", "--perturb"]
    assert accuracy.main(_arguments(mvtec_root, tmp_path, *padim, *done)) == 0
    rows = read(tmp_path / "folder.parquet")
    assert rows["date"].iloc[0] == before["date"].iloc[0]
    rows = rows[1:]
    asked = {"turned": "black", "brightness": 1.0, "perturbed": True, "train_images": 5, "draw": 0, "count_train": 5}
    assert {name: set(rows[name]) for name in asked} == {name: {value} for name, value in asked.items()}
    assert (rows["image_cpu_ms"] > 0).all()
    assert rows["perturbation"].tolist() == ["", *PERTURBATIONS]
    # Perturbed images have scores of their own, by the same model.
    assert len({tuple(scores) for scores in rows["scores"]}) > len(PERTURBATIONS) / 2
    assert rows["pixel_AUROC"].notna().tolist() == [True] + len(PERTURBATIONS) * [False]
    name = "anomalib.Padim(n_features=8), brightness normalized"
    printed = capsys.readouterr().out
    for images in ("", ", JPEG 60"):
        assert f"| tile | {name} | turned, black corners, 5 to train on{images} | 1 |" in printed


def _grid(root: Path, *more: str) -> list[Cell]:
    arguments = ["folder", "--root", str(root), "--models", "FusedReverseDistillation", "anomalib.Padim", *more]
    options = accuracy.build_parser().parse_args(arguments)
    return accuracy.grid(argparse.Namespace(**{**vars(options), "what": "folder"}))


def test_brightness_is_normalized_once(mvtec_root: Path) -> None:
    """The fused model does it by itself: --brightness makes no other cell of it."""
    (fused, padim), (same, other) = _grid(mvtec_root), _grid(mvtec_root, "--brightness", "0.5")
    assert fused.settings == same.settings
    assert other.settings == {**padim.settings, "brightness": 0.5}


def test_words_of_before_mean_the_same(mvtec_root: Path) -> None:
    (*_, before), (*_, now) = (
        _grid(mvtec_root, *words) for words in (["--light", "--disturb"], ["--brightness", "--perturb"])
    )
    assert before.settings == now.settings
    assert (now.settings["brightness"], now.settings["perturbed"]) == (1.0, True)


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


def _write_record(file: Path, category: str, seed: int, *figures: float, **more: object) -> None:
    """A record of a model on a category of MVTec AD, written by hand."""
    settings = {
        "data": "MVTecAD",
        "category": category,
        "model": "ReverseDistillation",
        "backbone": "resnet18",
        "pre_trained": "true",
        "scales": "all",
        "image_size": 256,
        "steps": None,
        "epochs": 200,
        "batch": 16,
        "devices": 1,
        "seed": seed,
        "arguments": {},
    }
    names = ("image_AUROC", "pixel_AUROC", "pixel_AUPRO_per_image")
    row = {"perturbation": "", **dict(zip(names, figures, strict=True)), "date": "2026-01-01", **more}
    write(file, {**settings, "perturbed": more.get("perturbed")}, [row])


def test_table_says_what_the_records_do(tmp_path: Path) -> None:
    file = tmp_path / "mvtec.parquet"
    _write_record(file, "carpet", 0, 0.90, 0.80, 0.70)
    _write_record(file, "carpet", 1, 0.94, 0.82, 0.70)
    _write_record(file, "grid", 0, 0.80, 0.70, 0.60)
    _write_record(file, "grid", 1, 0.88, 0.70, 0.60)
    # A seed without all categories does not enter their mean.
    _write_record(file, "carpet", 2, 0.95, 0.90, 0.80)
    rows = [line.split(" | ") for line in report.show(report.load(file)).splitlines() if line.startswith("| ")]
    found = {
        (category.strip("| "), model): [cell.rstrip(" |") for cell in cells]
        for category, model, one_for, *cells in rows
        if one_for == "a category"
    }
    assert found["carpet", "ReverseDistillation"][:2] == ["3", "0.930 ± 0.026"]
    # Means over categories are 0.85 and 0.91; two values are sqrt(2) standard deviations apart.
    assert found["mean", "ReverseDistillation"][:3] == ["2", "0.880 ± 0.042", "0.755 ± 0.007"]
    assert found["mean", "RD4AD, published"][:2] == ["", "0.985"]


def test_newest_record_of_a_run_counts(tmp_path: Path) -> None:
    """A run with perturbations is a run without them, too."""
    file = tmp_path / "mvtec.parquet"
    _write_record(file, "carpet", 0, 0.91, 0.80, 0.70, perturbed=True, date="2026-01-02")
    _write_record(file, "carpet", 0, 0.90, 0.80, 0.70)
    rows = report.load(file)
    assert dict(zip(rows["images"], rows["image_AUROC"], strict=True)) == {"as they are": 0.91}


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


def test_areas_of_defects_and_places_of_peaks() -> None:
    masks, maps = torch.zeros(3, 10, 10, dtype=torch.bool), torch.zeros(3, 10, 10)
    masks[0, 2:4, 2:7] = masks[1, 5, 5] = True
    maps[0, 3, 4] = maps[1, 5, 9] = maps[2, 0, 0] = 1
    pixels = measures.PixelMetrics(masks)
    assert pixels.areas().tolist() == pytest.approx([0.1, 0.01, 0])
    # On a defect, four pixels beside one, and without one.
    assert pixels.peak_distances(maps).tolist() == pytest.approx([0, 4, float("nan")], nan_ok=True)
