# SPDX-License-Identifier: Apache-2.0
"""The tables and the picture of the page about accuracy: what records say, and nothing where they say nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.accuracy import comparison
from benchmarks.common.records import RESULTS, write

CHECKOUT = Path(__file__).parents[2]
HEADER = "| solar cells, mono | solar cells, poly | magnetic tiles |"
# Pages that repeat figures of the three kinds of images, with the header and the least number of rows of their tables.
OTHERS = [
    (CHECKOUT / "README.md", HEADER, 5),
    (CHECKOUT / "docs" / "benchmarks" / "fused_design.md", HEADER, 5),
    (CHECKOUT / "docs" / "models" / "fused-reverse-distillation.md", "| cells, mono | cells, poly | tiles |", 4),
]


def _record(folder: Path, category: str, figures: dict[str, dict[str, float]], **more: Any) -> None:
    """A record of a model on some data, written by hand; ``more`` are settings, or costs and arrays."""
    settings = {
        "data": "data" if category == "magnetic_tile" else "solar",
        "category": category,
        "model": "ReverseDistillation",
        "backbone": "tf_efficientnet_lite0",
        "pre_trained": "true",
        "image_size": 256,
        "steps": 400,
        "epochs": None,
        "batch": 16,
        "devices": 1,
        "seed": 0,
        "arguments": {},
    }
    costs = {name: more.pop(name) for name in list(more) if name.endswith(("_ms", "_seconds"))}
    arrays = more.pop("arrays", {})
    suite = more.pop("suite", "folder" if category == "magnetic_tile" else "solar")
    settings |= {"turned": None, "train_images": None, "draw": None, "perturbed": None, "brightness": None, **more}
    part = "perturbation" if settings["perturbed"] else "part"
    rows = [{part: name, **found, **costs, **arrays, "date": "2026-01-01"} for name, found in figures.items()]
    write(folder / f"{suite}.parquet", settings, rows)


def _rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


@pytest.fixture(scope="module")
def kept() -> list[str]:
    """The tables of the records that are kept."""
    return comparison.tables(RESULTS / "accuracy")


def test_page_shows_the_tables_of_the_kept_records(kept: list[str]) -> None:
    shown = [line for line in (RESULTS / "accuracy.md").read_text().splitlines() if line.startswith("|")]
    assert sorted(shown) == sorted(line for table in kept for line in table.splitlines())


@pytest.mark.parametrize(("page", "header", "least"), OTHERS, ids=[page.stem for page, *_ in OTHERS])
def test_other_pages_repeat_what_the_kept_records_say(page: Path, header: str, least: int, kept: list[str]) -> None:
    """Each figure is one of its column, rounded alike."""
    columns = [{cell.partition(" ")[0] for cell in column} for column in zip(*_rows(kept[0]), strict=True)]
    shown = page.read_text().partition(header)[2]
    rows = [line for line in shown.partition("\n\n")[0].splitlines() if line.startswith("|")][1:]
    assert len(rows) >= least
    for row in rows:
        _, _, *cells = row.split("|")
        for cell, column in zip(cells[:3], columns[1:4], strict=True):
            assert {figure.strip() for figure in cell.split(";")} <= column, row


def test_nothing_is_said_without_records(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert comparison.main(["--records", str(tmp_path)]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line and not line.startswith("|")] == ["None"]
    assert not list(tmp_path.iterdir())


def test_records_may_lack_perturbations_and_costs(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Tiles have neither costs nor perturbations, mono cells one perturbation alone."""
    _record(tmp_path, "magnetic_tile", {"": {"image_AUROC": 0.7, "pixel_AUROC": 0.6}})
    _record(tmp_path, "mono", {"": {"image_AUROC": 0.9}, "JPEG 60": {"image_AUROC": 0.8}}, perturbed=True)
    _record(tmp_path, "poly", {"": {"image_AUROC": 0.8}}, image_cpu_ms=9.0, train_cpu_seconds=60.0)
    assert comparison.main(["--records", str(tmp_path)]) == 0
    assert "| ReverseDistillation | 0.900 | 0.800 | 0.700 |" in capsys.readouterr().out
    assert (tmp_path / "cost.png").stat().st_size
    assert _rows(comparison.regions(tmp_path)) == [["ReverseDistillation", "0.600", "", ""]]
    assert _rows(comparison.perturbed(tmp_path)) == []


def test_perturbations_are_compared_with_the_same_runs(tmp_path: Path) -> None:
    """A seed without perturbations enters the table of images, and not that of perturbations."""
    names = list(comparison.PERTURBATIONS)
    figures = {"": 0.9, **{name: 0.9 - 0.01 * index for index, name in enumerate(names)}}
    _record(tmp_path, "mono", {name: {"image_AUROC": value} for name, value in figures.items()}, perturbed=True)
    _record(tmp_path, "mono", {"": {"image_AUROC": 0.8}}, seed=1)
    changes = [f"{-index:+.1f}".replace("-0.0", "+0.0") for index in range(len(names))]
    assert _rows(comparison.perturbed(tmp_path)) == [["mono", "ReverseDistillation", "0.900", *changes]]
    assert _rows(comparison.images(tmp_path))[0][1] == "0.850 ± 0.071"


def test_lengths_tell_runs_of_a_model_apart(tmp_path: Path) -> None:
    _record(tmp_path, "mono", {"": {"image_AUROC": 0.9}})
    _record(tmp_path, "mono", {"": {"image_AUROC": 0.8}}, steps=200)
    found = {name: figure for name, figure, *_ in _rows(comparison.images(tmp_path))}
    assert found == {"ReverseDistillation, 200 steps": "0.800", "ReverseDistillation, 400 steps": "0.900"}


def test_kinds_of_defects_are_not_mixed_with_good_ones(tmp_path: Path) -> None:
    arrays = {
        "labels": np.array([False, False, True, True, True]),
        "kinds": np.array(["good", "good", "crack", "fray", "fray"]),
        "scores": np.array([0.1, 0.5, 0.3, 0.6, 0.2], dtype=np.float32),
    }
    _record(tmp_path, "magnetic_tile", {"": {"image_AUROC": 0.7}}, arrays=arrays)
    table = comparison.kinds(tmp_path)
    assert table.splitlines()[0] == "| magnetic tiles | crack | fray |"
    assert _rows(table) == [["ReverseDistillation", "0.500", "0.750"]]


def test_small_defects_are_told_from_large_ones(tmp_path: Path) -> None:
    """A quarter of the defects in each column; here the smallest and the largest are found."""
    arrays = {
        "labels": np.array([False, False, True, True, True, True]),
        "areas": np.array([0, 0, 0.01, 0.02, 0.04, 0.4], dtype=np.float32),
        "scores": np.array([0.1, 0.5, 0.6, 0.3, 0.0, 0.9], dtype=np.float32),
    }
    _record(tmp_path, "magnetic_tile", {"": {"image_AUROC": 0.7}}, arrays=arrays)
    assert _rows(comparison.sizes(tmp_path, "tiles")) == [["ReverseDistillation", "1.000", "0.500", "0.000", "1.000"]]
    assert _rows(comparison.sizes(tmp_path, "boards")) == []


def test_places_are_those_of_found_defects(tmp_path: Path) -> None:
    """Of four defective images one is not found, and the highest value of one is elsewhere."""
    arrays = {
        "labels": np.array([False, True, True, True, True]),
        "scores": np.array([0.5, 0.4, 0.6, 0.7, 0.8], dtype=np.float32),
        "peak_distances": np.array([np.nan, 0, 8, 8.1, 2], dtype=np.float32),
    }
    _record(tmp_path, "magnetic_tile", {"": {"image_AUROC": 0.7}}, arrays=arrays)
    found = [["magnetic tiles", "ReverseDistillation", "256 px", "75.0", "66.7"]]
    assert _rows(comparison.places(tmp_path)) == found


def test_costs_are_of_the_runs_that_were_timed(tmp_path: Path) -> None:
    _record(tmp_path, "mono", {"": {"image_AUROC": 0.9}}, image_cpu_ms=9.4, train_cpu_seconds=60.0)
    _record(tmp_path, "poly", {"": {"image_AUROC": 0.9}})
    assert _rows(comparison.costs(tmp_path)) == [["ReverseDistillation", "9", "60", *[""] * 6]]


def test_what_evidence_adds(tmp_path: Path) -> None:
    """Turned cells have a column of their own, and only tiles have figures by region."""
    kinds = {"all": 0.9, "without image": 0.8}
    for images in ({}, {"turned": "black"}):
        _record(
            tmp_path,
            "mono",
            {kind: {"image_AUROC": value - 0.1 * len(images)} for kind, value in kinds.items()},
            suite="ablation_evidence",
            **images,
        )
    figures = {kind: {"image_AUROC": value, "pixel_AUPRO": 0.7} for kind, value in kinds.items()}
    _record(tmp_path, "magnetic_tile", figures, suite="ablation_evidence")
    table = comparison.evidence(tmp_path)
    assert table.splitlines()[0] == "| evidence | mono | mono, turned | tiles | tiles: PRO, pooled |"
    assert _rows(table) == [
        ["all", "0.900", "0.800", "0.900", "0.700"],
        ["without image", "0.800", "0.700", "0.800", "0.700"],
    ]
