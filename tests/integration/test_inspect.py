# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin inspect`` with exports and checkpoints."""

import csv
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino
import pytest
import torch
from anomalib.data.utils import read_image
from PIL import Image

from rd_plugin.commands.tool import main
from rd_plugin.inspection import load_inferencer
from rd_plugin.results import InspectionResult, ResultFile

from ..processes import run_function
from .conftest import Trained, cpu_engine, one_method

Inspect = Callable[..., tuple[int, list[str], str]]


@pytest.fixture
def inspect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Inspect:
    """The program in this process: its exit status, lines of standard output, and standard error."""

    def run(*arguments: object) -> tuple[int, list[str], str]:
        monkeypatch.chdir(tmp_path)
        capfd.readouterr()  # what was printed before
        with pytest.raises(SystemExit) as status:
            main(["inspect", *map(str, arguments)])
        output, errors = capfd.readouterr()
        return int(status.value.code or 0), output.splitlines(), errors

    return run


def test_checkpoint_predicts_as_the_engine_and_export_as_the_model(
    trained: Trained, exported: Path, mvtec_root: Path, tmp_path: Path, inspect: Inspect
) -> None:
    folder = mvtec_root / "tile" / "test"
    model = trained.method.load_from_checkpoint(trained.checkpoint)
    verdicts, scores = {}, {}
    for batch in cpu_engine(tmp_path).predict(model, data_path=folder):
        for path, label, score in zip(batch.image_path, batch.pred_label, batch.pred_score, strict=True):
            verdicts[path] = "anomalous" if label else "normal"
            scores[path] = float(score)
    assert set(verdicts.values()) == {"normal", "anomalous"}
    rows = _rows(inspect, trained.checkpoint, folder)
    # A score on the threshold, as one of the validation images has, may fall on either side of it by rounding.
    decided = {path for path, score in scores.items() if abs(score - 0.5) > 1e-3}
    assert len(decided) >= len(scores) - 1
    assert all(rows[path]["verdict"] == verdicts[path] for path in decided)
    assert {path: float(row["score"]) for path, row in rows.items()} == pytest.approx(scores, abs=1e-5)
    model.eval()
    with torch.inference_mode():
        scores = {path: model(read_image(path, as_tensor=True)[None]).pred_score.item() for path in scores}
    rows = _rows(inspect, exported, folder)
    assert {path: float(row["score"]) for path, row in rows.items()} == pytest.approx(scores, abs=1e-3)
    assert not (tmp_path / "openvino_cache").exists()


def _rows(inspect: Inspect, model: Path, folder: Path) -> dict[str, dict[str, str]]:
    """Rows of the CSV by path."""
    name = f"{model.suffix[1:]}.csv"
    status, output, _ = inspect(model, folder, "--csv", name)
    with Path(name).open(newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    assert status == 0
    assert len(output) == len(rows)
    return rows


@one_method
def test_export_knows_the_images_of_the_training(
    trained: Trained, exported: Path, mvtec_root: Path, tmp_path: Path, inspect: Inspect
) -> None:
    known = [load_inferencer(path).reference for path in (trained.checkpoint, exported)]
    assert [len(reference.statistics) for reference in known if reference] == [12, 12]
    np.testing.assert_array_equal(known[0].statistics, known[1].statistics)
    # The validation set is the test set here, whose images are not used.
    assert len(known[0].scores) == 0
    for folder, gain in (("same", 1.0), ("dark", 0.8)):
        (tmp_path / folder).mkdir()
        for index, path in enumerate(sorted(mvtec_root.glob("tile/*/good/*.png")) * 2):
            pixels = np.asarray(Image.open(path)) * gain
            Image.fromarray(pixels.round().astype(np.uint8)).save(tmp_path / folder / f"{index:02}.png")
    assert inspect(exported, tmp_path / "same", "--fail_on_drift")[0] == 0
    assert inspect(exported, tmp_path / "dark", "--fail_on_drift", "--csv", "dark.csv")[0] == 8
    with Path("dark.csv").open(newline="") as file:
        assert [row["drift"] for row in csv.DictReader(file)] == [""] * 24 + ["yes"] * 8


@one_method
def test_images_that_cannot_be_inspected_are_named(inspect: Inspect, exported: Path, tmp_path: Path) -> None:
    model = openvino.Core().read_model(exported)
    model.reshape([-1, 3, 48, 40])
    openvino.save_model(model, tmp_path / "of_one_size.xml")
    pixels = np.random.default_rng(0).integers(0, 256, (48, 40, 4), dtype=np.uint8)
    Image.fromarray(pixels[..., :3]).save(tmp_path / "colour.png")
    Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.png")
    Image.fromarray(pixels).save(tmp_path / "alpha.png")
    Image.fromarray(pixels[..., 0].astype(np.uint16) << 8).save(tmp_path / "deep.png")
    Image.fromarray(pixels[:, :32, :3]).save(tmp_path / "narrow.png")
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "cut.png").write_bytes((tmp_path / "colour.png").read_bytes()[:2000])
    names = ("deep", "narrow", "text", "cut", "missing", "colour", "grey", "alpha")
    status, output, errors = inspect(tmp_path / "of_one_size.xml", *(tmp_path / f"{name}.png" for name in names))
    assert status == 1
    assert [line.partition(":")[0] for line in output] == [
        str(tmp_path / name) for name in ("colour.png", "grey.png", "alpha.png")
    ]
    for expected in (
        "deep.png: the image has mode I;16, more than 8 bits a channel, and would be clipped to white",
        "narrow.png: the image has 32 x 48 pixels, the model accepts only 40 x 48; resize it, or export",
        "text.png: the file is not an image that can be read.",
        "cut.png: the image is damaged",
        "missing.png: the file does not exist.",
    ):
        assert f"{tmp_path}/{expected}" in errors
    # What an alpha channel hides is still seen.
    assert output[0].partition(":")[2] == output[2].partition(":")[2]


def test_files_that_are_no_models(inspect: Inspect, tmp_path: Path) -> None:
    (tmp_path / "text.xml").write_text("no model")
    images = openvino.opset13.parameter([1, 3, 8, 8], np.float32)
    openvino.save_model(openvino.Model([openvino.opset13.relu(images)], [images]), tmp_path / "foreign.xml")
    for name, expected in (
        ("missing.xml", "is not a file."),
        ("text.xml", "cannot be read by OpenVINO"),
        (
            "foreign.xml",
            "has no pred_label and no pred_score; train it with a post-processor that sets a threshold, and export it "
            "with that.",
        ),
    ):
        status, output, errors = inspect(tmp_path / name, "image.png")
        assert (status, output) == (2, [])
        assert f"model '{tmp_path / name}' {expected}" in errors


def _inspect_until_killed(whole_rows: int, *arguments: str) -> None:
    """Run the program, which is killed in the middle of a row."""
    write, written = ResultFile.write, 0

    def cut_off(table: ResultFile, row: InspectionResult) -> None:
        nonlocal written
        if written == whole_rows:
            table._file.write(row.csv()[:-5])
            table._file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        write(table, row)
        written += 1

    ResultFile.write = cut_off  # type: ignore[method-assign]
    main(["inspect", *arguments])


@one_method
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_inspection_goes_on(
    inspect: Inspect, exported: Path, mvtec_root: Path, files: list[Path], tmp_path: Path
) -> None:
    table = tmp_path / "verdicts.csv"
    arguments = [str(exported), str(mvtec_root / "tile" / "test"), "--csv", str(table)]
    killed = run_function(tmp_path, _inspect_until_killed, 3, *arguments)
    assert killed.status == -signal.SIGKILL, killed.output[-3000:]
    half = table.read_text()
    assert len(half.splitlines()) == 1 + 3 + 1
    assert not half.endswith("\n")
    status, output, _ = inspect(*arguments, "--resume")
    assert (status, len(output)) == (0, len(files) - 3)
    assert table.read_text().startswith(half[: half.rindex("\n") + 1])
    with table.open(newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == list(map(str, files))
