# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin inspect``, with a stand-in for the model: which files are found, and what is written of them."""

import csv
import json
import math
import os
import re
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import Thread
from time import sleep
from types import MappingProxyType

import fsspec
import numpy as np
import pytest
from PIL import Image

from rd_plugin.commands.tool import main
from rd_plugin.drift import Reference, image_statistics
from rd_plugin.inspection import Inferencer, Prediction, inspector
from rd_plugin.results import in_order, results_of

from ... import pictures
from ...processes import run_function
from ...waiting import wait_until
from .conftest import Tool


class Brightness(Inferencer):
    """Calls bright images anomalous, and fails on black ones."""

    record_id = "0123456789ab"

    def predict(self, image: np.ndarray) -> Prediction:
        score = float(image.mean() / 255)
        if score == 0:
            msg = "black\nimage"
            raise RuntimeError(msg)
        bright = image[..., 0] > 127
        return Prediction(score > 0.5, math.nan if score > 0.99 else score, image[..., 0] / 255, bright, 1.0)


@pytest.fixture(autouse=True)
def _brightness(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(inspector, "load_inferencer", lambda *_: Brightness())


draw = partial(pictures.draw, size=(6, 4))


def _rows() -> int:
    """How many rows are written; none before there is a file."""
    file = Path("results.jsonl")
    return file.read_text().count("\n") if file.exists() else 0


def test_results(tool: Tool) -> None:
    draw("Prüfteile/good.png", 51)
    draw("Prüfteile/a: normal, score 0.0\nb.png", 204)
    draw("Prüfteile/black.png", 0)
    draw("Prüfteile/white.png", 255)
    status, output, errors = tool(
        *("inspect", "model.xml", "Prüfteile", "none.png", "--csv", "results.csv", "--jsonl", "results.jsonl")
    )
    assert status == 1
    assert output.splitlines() == [
        "Prüfteile/a: normal, score 0.0\\nb.png: anomalous, score 0.800",
        "Prüfteile/good.png: normal, score 0.200",
    ]
    assert errors.splitlines()[-3:] == [
        "Prüfteile/black.png: the image cannot be inspected (black image).",
        "Prüfteile/white.png: the model's score is not a number.",
        "none.png: the file does not exist.",
    ]
    with Path("results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["verdict"] for row in rows] == ["anomalous", "error", "normal", "error", "error"]
    assert len(Path("results.csv").read_text().splitlines()) == 6
    assert rows[0]["path"] == "Prüfteile/a: normal, score 0.0\\nb.png"
    assert [row["score"] for row in rows] == ["0.8", "", "0.2", "", ""]
    objects = [json.loads(line) for line in Path("results.jsonl").read_text().splitlines()]
    assert objects[0].pop("milliseconds") >= 1
    times = [datetime.fromisoformat(entry.pop("time")) for entry in objects]
    assert all(time.utcoffset() is not None for time in times)
    unaligned = {"aligned": "", "correlation": None, "shift_x": None, "shift_y": None}
    assert objects[0] == {
        "path": "Prüfteile/a: normal, score 0.0\nb.png",
        "verdict": "anomalous",
        "score": 0.8,
        "threshold": 0.5,
        "boxes": [
            {"x": 0, "y": 0, "width": 6, "height": 4, "area": 24, "peak": 0.8, "mean": 0.8}
            | {"center_x": 3.0, "center_y": 2.0, "length": 6.0, "breadth": 4.0, "ignored": False}
        ],
        "model": "0123456789ab",
        "reason": "",
        "drift": "",
        "part_id": "",
        "product": "",
        **unaligned,
    }
    assert objects[-1] == {
        "path": "none.png",
        "verdict": "error",
        "score": None,
        "threshold": 0.5,
        "boxes": [],
        "milliseconds": None,
        "model": "0123456789ab",
        "reason": "the file does not exist.",
        "drift": "",
        "part_id": "",
        "product": "",
        **unaligned,
    }


def test_rows_are_there_as_soon_as_they_are_known(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    draw("1.png", 51)
    draw("2.png", 51)
    seen = []

    def paths() -> Iterator[str]:
        yield "1.png\n"
        wait_until(lambda: len(Path("results.csv").read_text().splitlines()) == 2 and _rows())
        seen.append([Path(name).read_text()[-1] for name in ("results.csv", "results.jsonl")])
        yield "2.png\n"

    monkeypatch.setattr(sys, "stdin", paths())
    status, output, _ = tool("inspect", "model.xml", "-", "--csv", "results.csv", "--jsonl", "results.jsonl")
    assert (status, output) == (0, "1.png: normal, score 0.200\n2.png: normal, score 0.200\n")
    assert seen == [["\n", "\n"]]


def test_anomalous_images_end_in_a_status_of_their_own_if_asked_for(tool: Tool) -> None:
    draw("good.png", 51)
    draw("bad.png", 204)
    draw("black.png", 0)
    assert [
        tool("inspect", "model.xml", *arguments).status
        for arguments in (
            ("good.png", "bad.png"),
            ("good.png", "--fail_on_anomalous"),
            ("good.png", "bad.png", "--fail_on_anomalous"),
            ("bad.png", "black.png", "--fail_on_anomalous"),
            ("black.png", "--fail_on_anomalous"),
        )
    ] == [0, 0, 4, 5, 1]


def test_resumed_run_inspects_what_is_left_and_answers_for_all(tool: Tool) -> None:
    for index in range(6):
        draw(f"parts/{index}.png", 40 * index)
    files = ("--csv", "results.csv", "--jsonl", "results.jsonl")
    whole = tool("inspect", "model.xml", "parts", *files)
    csv_lines = Path("results.csv").read_bytes().splitlines(keepends=True)
    json_lines = Path("results.jsonl").read_bytes().splitlines(keepends=True)
    # Killed between the two files, or within a line.
    Path("results.csv").write_bytes(b"".join(csv_lines[:5]))
    Path("results.jsonl").write_bytes(b"".join(json_lines[:3]) + json_lines[3][:20])
    status, output, _ = tool("inspect", "model.xml", "parts", *files, "--resume")
    assert status == whole.status == 1
    assert [line.partition(":")[0] for line in output.splitlines()] == ["parts/3.png", "parts/4.png", "parts/5.png"]
    objects = [json.loads(line) for line in Path("results.jsonl").read_text().splitlines()]
    assert [row["path"] for row in objects] == [f"parts/{index}.png" for index in range(6)]
    with Path("results.csv").open(newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == [f"parts/{index}.png" for index in range(6)]
    assert tool("inspect", "model.xml", "parts", *files, "--resume").output == ""


def _inspect_until_signal(model: type[Brightness], number: int, rows: int, *arguments: str) -> None:
    """Run the tool in this process, which gets a signal when so many rows are written."""

    def stop() -> None:
        wait_until(lambda: _rows() >= rows)
        os.kill(os.getpid(), number)

    def unending() -> Iterator[str]:
        yield "1.png\n"
        sleep(60)

    inspector.load_inferencer = lambda *_: model()  # type: ignore[assignment]
    sys.stdin = unending()  # type: ignore[assignment]
    Thread(target=stop, daemon=True).start()
    main(["inspect", "model.xml", *arguments, "--jsonl", "results.jsonl"])


def test_signal_ends_in_whole_rows_and_a_status(tmp_path: Path) -> None:
    draw("1.png", 51)
    done = run_function(tmp_path, _inspect_until_signal, Brightness, signal.SIGTERM, 1, "-")
    assert done.status == 128 + signal.SIGTERM, done.output
    assert "1.png: normal, score 0.200\n" in done.output
    assert [json.loads(row)["path"] for row in Path("results.jsonl").read_text().splitlines()] == ["1.png"]


def test_pictures_of_files_with_one_name(tool: Tool) -> None:
    draw("a/cam1/img.jpg", 204)
    draw("b/cam1/img.jpg", 204)
    draw("b/cam1/good.bmp", 51)
    tool("inspect", "model.xml", "a", "b", "--pictures", "anomalous", "--pictures_folder", "bad")
    tool("inspect", "model.xml", "b", "--pictures", "all")
    assert sorted(str(path) for path in Path("bad").rglob("*.*")) == ["bad/a/cam1/img.jpg", "bad/b/cam1/img.jpg"]
    assert sorted(str(path) for path in Path("pictures").rglob("*.*")) == [
        "pictures/cam1/good.bmp.png",
        "pictures/cam1/img.jpg",
    ]
    assert Image.open("bad/a/cam1/img.jpg").width == 6


def test_watched_folders_are_inspected_until_stopped(tool: Tool, tmp_path: Path) -> None:
    draw("parts/1.png", 51)
    with ThreadPoolExecutor() as pool:
        arguments = (Brightness, signal.SIGINT, 2, "parts", "--watch", "--fail_on_anomalous")
        station = pool.submit(run_function, tmp_path, _inspect_until_signal, *arguments)
        wait_until(_rows)
        draw("parts/deep/2.png", 204)
        done = station.result()
    assert done.status == 4, done.output
    verdicts = [line for line in done.output.splitlines() if line.startswith("parts")]
    assert verdicts == ["parts/1.png: normal, score 0.200", "parts/deep/2.png: anomalous, score 0.800"]
    status, _, errors = tool("inspect", "model.xml", "parts", "none", "--watch")
    assert status == 2
    assert errors.endswith("watch needs existing folders; 'none' is not a folder.\n")


def test_files_with_several_images_are_refused_if_asked_for(tool: Tool) -> None:
    frames = [Image.new("L", (8, 8), level) for level in (51, 204)]
    frames[0].save("pages.tif", save_all=True, append_images=frames[1:])
    assert tool("inspect", "model.xml", "pages.tif").output == "pages.tif: normal, score 0.200\n"
    status, _, errors = tool("inspect", "model.xml", "pages.tif", "--multi_frame", "refuse")
    assert status == 1
    assert errors.endswith("pages.tif: the file holds 2 images, but multi_frame is 'refuse'.\n")


def test_images_beyond_the_limit_are_refused(tool: Tool) -> None:
    draw("1.png", 51)
    status, _, errors = tool("inspect", "model.xml", "1.png", "--max_pixels", "20")
    assert status == 1
    assert errors.endswith("1.png: the image is too large to be read (6 x 4 pixels, max_pixels is 20).\n")


class Reminded(Brightness):
    """Knows good images: noise about middle grey."""

    record = MappingProxyType({"method": "Brightness of noise"})

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        images = [rng.normal(100, 10, (16, 16, 3)).astype(np.uint8) for _ in range(60)]
        self.reference = Reference(np.stack([image_statistics(image) for image in images]))


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that knows good images, 30 like them in ``same`` and 60 darker ones in ``dark``."""
    monkeypatch.setattr(inspector, "load_inferencer", lambda *_: Reminded())
    rng = np.random.default_rng(1)
    for folder, count, level in (("same", 30, 100), ("dark", 60, 85)):
        Path(folder).mkdir()
        for index in range(count):
            Image.fromarray(rng.normal(level, 10, (16, 16, 3)).astype(np.uint8)).save(f"{folder}/{index:02}.png")


def _drift(path: str) -> list[str]:
    with Path(path).open(newline="") as file:
        return [row["drift"] for row in csv.DictReader(file)]


@pytest.mark.usefixtures("parts")
def test_drift_is_reported_and_changes_no_verdict(tool: Tool, caplog: pytest.LogCaptureFixture) -> None:
    status, output, _ = tool("inspect", "model.xml", "same", "--csv", "same.csv", "--fail_on_drift")
    assert (status, len(output.splitlines())) == (0, 30)
    assert caplog.messages == ["Drift: not detected in 2 comparisons of 30 images."]
    assert _drift("same.csv") == [""] * 24 + ["no"] * 6
    status, output, _ = tool("inspect", "model.xml", "dark", "--csv", "dark.csv", "--fail_on_drift")
    assert (status, output.count(": normal")) == (8, 60)
    ends = ("training images (brightness: lower).", "(3 of 3 comparisons, first after 25 images: brightness: lower).")
    assert [message.endswith(end) for message, end in zip(caplog.messages[1:], ends, strict=True)] == [True, True]
    assert _drift("dark.csv") == [""] * 24 + ["yes"] * 36
    assert tool("inspect", "model.xml", "dark").status == 0
    assert tool("inspect", "model.xml", "dark", "none.png", "--fail_on_drift").status == 9


@pytest.mark.usefixtures("parts")
def test_resumed_run_answers_for_drift_of_before(tool: Tool, caplog: pytest.LogCaptureFixture) -> None:
    files = ("--jsonl", "results.jsonl", "--fail_on_drift")
    assert tool("inspect", "model.xml", "dark", *files).status == 8
    status, output, _ = tool("inspect", "model.xml", "dark", "same", *files, "--resume")
    assert (status, len(output.splitlines())) == (8, 30)
    # Of the images that were left.
    assert caplog.messages[-1] == "Drift: not detected in 1 comparison of 90 images."


@pytest.mark.usefixtures("parts")
def test_watched_folder_is_compared_by_a_window(tmp_path: Path) -> None:
    arguments = (Reminded, signal.SIGINT, 90, "dark", "same", "--watch", "--fail_on_drift")
    done = run_function(tmp_path, _inspect_until_signal, *arguments)
    assert done.status == 8, done.output
    # After 25, 50 and 75 images, and at the end; the last 50 may hold dark ones.
    assert "of 4 comparisons, first after 25 images" in done.output.splitlines()[-1]


def test_model_that_cannot_tell_is_refused_if_asked(tool: Tool, caplog: pytest.LogCaptureFixture) -> None:
    draw("good.png", 51)
    status, output, errors = tool("inspect", "model.xml", "good.png", "--fail_on_drift")
    assert (status, output) == (2, "")
    assert "fail_on_drift: the model's record has no sample of its training images" in errors
    assert tool("inspect", "model.xml", "good.png").status == 0
    assert [message.partition(",")[0] for message in caplog.messages if "rift" in message] == ["Drift: not checked"]


def _reported(path: str) -> tuple[dict, str]:
    """What a report counts with, and the whole page."""
    page = Path(path).read_text()
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert found is not None
    return json.loads(found[1]), page


@pytest.mark.usefixtures("parts")
def test_report_tells_of_all_rows_and_of_drift(tool: Tool, caplog: pytest.LogCaptureFixture) -> None:
    files = ("--csv", "results.csv", "--report", "report.html")
    assert tool("inspect", "model.xml", "same", "none.png", *files).status == 1
    data, page = _reported("report.html")
    assert len(data["rows"]) == 31
    assert page.count("data:image") + page.count('<script type="text/plain" id="i') >= 30
    assert "Drift: not detected in 2 comparisons of 30 images." in page
    # What the model says of where it comes from.
    assert "Brightness of noise" in page
    # Resumed, it holds the results of both runs.
    assert tool("inspect", "model.xml", "same", "dark", *files, "--resume").status == 1
    data, page = _reported("report.html")
    assert len(data["rows"]) == 91
    assert "Drift: detected, the images differ from the training images" in page
    assert caplog.messages[-1] == "Report: report.html"
    tool("report", "results.csv")
    assert "The images differ from the training images: " in _reported("results.html")[1]


@pytest.mark.usefixtures("parts")
def test_report_needs_no_other_file_and_a_place(tool: Tool) -> None:
    assert tool("inspect", "model.xml", "same", "--report", "report.html").status == 0
    assert sorted(str(path) for path in Path().iterdir()) == ["dark", "report.html", "same"]
    assert len(_reported("report.html")[0]["rows"]) == 30
    for place in ("same", "none/report.html"):
        status, output, errors = tool("inspect", "model.xml", "same", "--report", place)
        assert (status, output) == (2, "")
        assert errors.endswith(f"report '{place}' must be a file in an existing folder.\n")


def test_report_of_a_model_that_cannot_tell(tool: Tool) -> None:
    draw("good.png", 51)
    assert tool("inspect", "model.xml", "good.png", "--report", "report.html").status == 0
    assert "Not checked, the model" in _reported("report.html")[1]


@pytest.mark.parametrize(
    "arguments",
    [("--report", "old.html"), ("--pictures", "all", "--pictures_folder", "old"), ("--csv", "old.html")],
)
def test_earlier_results_are_replaced_only_when_asked(tool: Tool, arguments: tuple[str, ...]) -> None:
    draw("new/a.png", 51)
    draw("old/a.png", 204)
    Path("old.html").write_text("earlier")
    before = Path("old/a.png").read_bytes()
    status, output, errors = tool("inspect", "model.xml", "new", *arguments)
    assert (status, output) == (2, "")
    assert f"{arguments[-2].strip('-')} '{arguments[-1]}' exists already" in errors
    assert "--overwrite" in errors
    assert (Path("old.html").read_text(), Path("old/a.png").read_bytes()) == ("earlier", before)
    assert tool("inspect", "model.xml", "new", *arguments, "--overwrite").status == 0
    assert (Path("old.html").read_text(), Path("old/a.png").read_bytes()) != ("earlier", before)


@pytest.mark.parametrize("place", ["-", "/dev/stdout"])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_results_on_standard_output(tool: Tool, place: str, kind: str) -> None:
    """Nothing else is there, in UTF-8 whatever the terminal has."""
    draw("Prüfteile/good.png", 51)
    draw("Prüfteile/black.png", 0)
    status, output, errors = tool("inspect", "model.xml", "Prüfteile", f"--{kind}", place)
    assert status == 1
    lines = output.splitlines()
    rows = list(csv.DictReader(lines)) if kind == "csv" else [json.loads(line) for line in lines]
    assert [row["path"] for row in rows] == ["Prüfteile/black.png", "Prüfteile/good.png"]
    assert "Prüfteile/black.png: the image cannot be inspected" in errors
    assert not Path("-").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX")
def test_results_to_a_named_pipe(tool: Tool) -> None:
    draw("good.png", 51)
    os.mkfifo("pipe")
    read: list[str] = []
    reader = Thread(target=lambda: read.append(Path("pipe").read_text()), daemon=True)
    reader.start()
    assert tool("inspect", "model.xml", "good.png", "--jsonl", "pipe").status == 0
    reader.join(60)
    assert json.loads(read[0])["verdict"] == "normal"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--csv", "-", "--jsonl", "-"), "csv and jsonl cannot both be standard output"),
        (("--csv", "-", "--resume"), "resume continues csv and jsonl: they must be files"),
        (("--csv", "a.csv", "--resume", "--overwrite"), "--overwrite must be left out"),
    ],
)
def test_outputs_that_contradict_each_other(tool: Tool, arguments: tuple[str, ...], expected: str) -> None:
    status, _, errors = tool("inspect", "model.xml", "a.png", *arguments)
    assert status == 2
    assert expected in errors


def test_images_and_results_at_addresses(tool: Tool, memory: fsspec.AbstractFileSystem) -> None:
    for name, level in (("good", 51), ("bad", 204)):
        draw("image.png", level)
        memory.pipe_file(f"/bucket/parts/{name}.png", Path("image.png").read_bytes())
    memory.pipe_file("/bucket/parts/text.png", b"no image")
    out = {kind: f"memory://bucket/out/results.{kind}" for kind in ("csv", "jsonl", "html")}
    files = ("--csv", out["csv"], "--jsonl", out["jsonl"], "--report", out["html"])
    status, output, errors = tool("inspect", "model.xml", "memory://bucket/parts", *files)
    shown = ("bad.png: anomalous, score 0.800", "good.png: normal, score 0.200")
    assert (status, output.splitlines()) == (1, [f"memory:///bucket/parts/{line}" for line in shown])
    assert "text.png: the file is not an image that can be read." in errors
    assert memory.cat_file("/bucket/out/results.csv").count(b"\n") == 4
    # A thumbnail of each image, as base64 of WebP.
    assert memory.cat_file("/bucket/out/results.html").count(b">UklGR") == 2
    refused = tool("inspect", "model.xml", "memory://bucket/parts", *files[:2])
    assert (refused.status, "exists already" in refused.errors) == (2, True)
    draw("image.png", 102)
    memory.pipe_file("/bucket/parts/new.png", Path("image.png").read_bytes())
    status, output, _ = tool("inspect", "model.xml", "memory://bucket/parts", *files[:4], "--resume")
    assert output == "memory:///bucket/parts/new.png: normal, score 0.400\n"
    assert memory.cat_file("/bucket/out/results.jsonl").count(b"\n") == 4


def test_parquet_is_resumed(tool: Tool) -> None:
    pytest.importorskip("pyarrow")
    for index in range(4):
        draw(f"parts/{index}.png", 40 * index)
    whole = ("inspect", "model.xml", "parts", "--parquet", "out")
    assert tool(*whole).status == 1
    assert tool(*whole).errors.rstrip().endswith("continue it with --resume.")
    draw("parts/00.png", 204)
    status, output, _ = tool(*whole, "--resume", "--fail_on_anomalous")
    assert (status, output) == (5, "parts/00.png: anomalous, score 0.800\n")
    rows = [result for table in in_order("out") for result in results_of(table)]
    assert [row.path for row in rows] == [*(f"parts/{index}.png" for index in range(4)), "parts/00.png"]
    assert tool(*whole, "--resume").output == ""
    assert len(list(Path("out").glob("*.parquet"))) == 2
    both = tool(*whole, "--csv", "a.csv", "--resume")
    assert (both.status, "either parquet, or csv and jsonl" in both.errors) == (2, True)
    assert tool(*whole, "--overwrite").status == 1
    assert len(list(Path("out").glob("*.parquet"))) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("parts", "--engine", "ray"), "engine ray needs parquet"),
        (("parts", "--engine", "ray", "--parquet", "out", "--watch"), "engine ray does not take watch"),
        (("a.mp4", "--engine", "ray", "--parquet", "out"), "engine ray inspects image files, got 'a.mp4'"),
        (("parts", "--actors", "2"), "actors is for --engine ray"),
    ],
)
def test_what_ray_does_not_do_is_refused(arguments: tuple[str, ...], message: str, tool: Tool) -> None:
    draw("parts/1.png", 51)
    status, _, errors = tool("inspect", "model.xml", *arguments)
    assert status == 2
    assert message in errors
    assert not Path("out").exists()
