# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin inspect``, with a stand-in for the model: which files are found, and what is written of them."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rd_plugin import ReverseDistillation
from rd_plugin.commands import inspect
from rd_plugin.commands.images import find_images
from rd_plugin.commands.judges import Judge, load_judge
from rd_plugin.provenance import record_file, write_record

from .conftest import Tool


class Brightness(Judge):
    """Calls bright images anomalous, and fails on black ones."""

    def judge(self, path: str) -> tuple[bool, float]:
        score = float(np.asarray(Image.open(path).convert("L")).mean() / 255)
        if score == 0:
            msg = "black\nimage"
            raise RuntimeError(msg)
        return score > 0.5, math.nan if score > 0.99 else score


@pytest.fixture(autouse=True)
def _brightness(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(inspect, "load_judge", lambda _: Brightness())


@pytest.fixture
def draw() -> Callable[[str, int], None]:
    def save(path: str, level: int) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 6, 3), level, np.uint8)).save(path)

    return save


def test_files_folders_and_patterns_in_order_each_once(draw: Callable) -> None:
    for path in ("parts/b.png", "parts/deep/er/a.JPG", "parts/text.txt.png", "c[1].png"):
        draw(path, 9)
    Path("parts/note.txt").touch()
    Path("empty").mkdir()
    found = list(find_images(["c[1].png", "parts", "parts/b.png", "part?/**/*.JPG", "empty", "none/*", "none.png"]))
    assert found == [
        ("c[1].png", None),
        ("parts/b.png", None),
        ("parts/deep/er/a.JPG", None),
        ("parts/text.txt.png", None),
        ("empty", "the folder holds no image."),
        ("none/*", "no file fits the pattern."),
        ("none.png", None),
    ]


def test_rows(tool: Tool, draw: Callable) -> None:
    draw("Prüfteile/good.png", 51)
    draw("Prüfteile/a: normal, score 0.0\nb.png", 204)
    draw("Prüfteile/black.png", 0)
    draw("Prüfteile/white.png", 255)
    status, output, errors = tool(
        *("inspect", "model.xml", "Prüfteile", "none.png", "--csv", "rows.csv", "--jsonl", "rows.jsonl")
    )
    assert status == 1
    assert output.splitlines() == [
        "Prüfteile/a: normal, score 0.0\\nb.png: anomalous, score 0.800",
        "Prüfteile/good.png: normal, score 0.200",
    ]
    assert errors.splitlines()[-3:] == [
        "Prüfteile/black.png: the image cannot be judged (black image).",
        "Prüfteile/white.png: the model gives no score that is a number.",
        "none.png: the file does not exist.",
    ]
    with Path("rows.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["verdict"] for row in rows] == ["anomalous", "not judged", "normal", "not judged", "not judged"]
    assert len(Path("rows.csv").read_text().splitlines()) == 6
    assert rows[0]["path"] == "Prüfteile/a: normal, score 0.0\\nb.png"
    assert [row["score"] for row in rows] == ["0.8", "", "0.2", "", ""]
    objects = [json.loads(line) for line in Path("rows.jsonl").read_text().splitlines()]
    assert objects[0] == {
        "path": "Prüfteile/a: normal, score 0.0\nb.png",
        "verdict": "anomalous",
        "score": 0.8,
        "reason": "",
    }
    assert objects[-1] == {
        "path": "none.png",
        "verdict": "not judged",
        "score": None,
        "reason": "the file does not exist.",
    }


def test_all_judged_ends_in_status_0(tool: Tool, draw: Callable) -> None:
    draw("good.png", 51)
    assert tool("inspect", "model.xml", "good.png").status == 0


def test_rows_are_there_as_soon_as_they_are_known(tool: Tool, draw: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    draw("1.png", 51)
    draw("2.png", 51)
    seen = []

    class Looking(Brightness):
        def judge(self, path: str) -> tuple[bool, float]:
            seen.append([Path(name).read_text().splitlines() for name in ("rows.csv", "rows.jsonl")])
            return super().judge(path)

    monkeypatch.setattr(inspect, "load_judge", lambda _: Looking())
    tool("inspect", "model.xml", "1.png", "2.png", "--csv", "rows.csv", "--jsonl", "rows.jsonl")
    assert [[len(lines) for lines in files] for files in seen] == [[1, 0], [2, 1]]


def test_results_of_another_run_are_kept(tool: Tool, draw: Callable) -> None:
    draw("good.png", 51)
    Path("rows.csv").write_text("mine")
    status, output, errors = tool("inspect", "model.xml", "good.png", "--csv", "rows.csv")
    assert (status, output) == (2, "")
    assert errors.endswith("csv 'rows.csv' is there already; give another name, or remove it.\n")
    assert Path("rows.csv").read_text() == "mine"
    status, _, errors = tool("inspect", "model.xml", "good.png", "--jsonl", "none/rows.jsonl")
    assert status == 2
    assert errors.endswith("jsonl 'none/rows.jsonl' cannot be written: No such file or directory.\n")


def test_models_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "model.pth").touch()
    torch.save({"weights": torch.zeros(1)}, tmp_path / "foreign.ckpt")
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    for name, expected in (
        ("none.xml", "is not a file"),
        ("model.pth", r"must be an OpenVINO model \(.xml\) or a checkpoint \(.ckpt\)"),
        ("foreign.ckpt", "is no checkpoint of one of the package's models"),
        ("text.ckpt", "was refused"),
    ):
        with pytest.raises((FileNotFoundError, ValueError), match=expected):
            load_judge(tmp_path / name)


def test_exports_of_a_model_that_was_never_trained_are_refused(tmp_path: Path) -> None:
    model = ReverseDistillation("resnet18", pre_trained=False)
    path = tmp_path / "model.xml"
    path.touch()
    write_record(record_file(path), model.describe().plain())
    with pytest.raises(ValueError, match=r"has not been trained \(0 steps in model.json\)"):
        load_judge(path)
