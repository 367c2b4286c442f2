# SPDX-License-Identifier: Apache-2.0
"""Each study trains, leaves its records and prints its table; and each speed is measured."""

import shutil
from pathlib import Path

import pytest

from benchmarks.accuracy import alignment, devices, drift, expert, many_parts, schedules, thresholds, update
from benchmarks.common.records import read
from benchmarks.speed import __main__ as speed
from benchmarks.speed import expert_cost, image_size, transformers
from rd_plugin.export import quantization

from ..processes import run_function

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(mvtec_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small data set in the place of the magnetic tiles."""
    root = tmp_path_factory.mktemp("tiles")
    shutil.copytree(mvtec_root / "tile", root / "magnetic_tile")
    return root


def _common(records: Path) -> list[str]:
    return ["--records", str(records), "--device", "cpu", "--threads", "1"]


def test_expert(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ["tiles", "--root", str(root), *_common(tmp_path), "--workers", "0", "--steps", "1", "--batch", "4"]
    assert expert.main([*arguments, "--only", "RD"]) == 0
    assert "| RD | 1 | sum, mahalanobis |" in capsys.readouterr().out
    rows = read(tmp_path / "expert.parquet")
    picture = tmp_path / "picture.png"
    assert expert.main(["picture", "--root", str(root), *_common(tmp_path), "--output", str(picture)]) == 0
    assert picture.stat().st_size
    assert set(rows.dropna(subset="kinds")["kinds"].iloc[0]) == {"good", "scratch", "stain"}


def test_thresholds(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ["tiles", "--root", str(root), *_common(tmp_path), "--workers", "0", "--steps", "1", "--batch", "4"]
    assert thresholds.main([*arguments, "--seeds", "0"]) == 0
    assert "| 1 | F1, defects |" in capsys.readouterr().out


def test_schedules(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ["tiles", "--root", str(root), *_common(tmp_path), "--steps", "1", "--seeds", "0", "1"]
    assert schedules.main([*arguments, "--only", "average", "decay"]) == 0
    assert "| decay | 1 | " in capsys.readouterr().out
    assert len(read(tmp_path / "schedules.parquet")) == 4


def test_drift(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ["tiles", "--root", str(root), *_common(tmp_path), "--runs", "1"]
    assert drift.main(arguments) == 0
    assert "| tiles | gain 0.85 | " in capsys.readouterr().out


def test_alignment(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ["tiles", "--root", str(root), *_common(tmp_path), "--workers", "0", "--steps", "1"]
    assert alignment.main([*arguments, "--shifts", "0", "2", "--image-size", "64"]) == 0
    printed = capsys.readouterr().out
    assert "| tiles | none | " in printed
    assert "| tiles | translation | " in printed
    assert len(read(tmp_path / "alignment.parquet")) == 4


def test_update(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = [*_common(tmp_path), "--workers", "0", "--steps", "1", "--image-size", "64"]
    assert update.main(arguments) == 0
    assert "| FusedReverseDistillation | poly cells | " in capsys.readouterr().out


def test_devices(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert devices.main([*_common(tmp_path), "--steps", "10", "--seeds", "0", "--only", "processes/1/*"]) == 0
    assert "| 1 x 16 | " in capsys.readouterr().out


def test_speed(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = [*_common(tmp_path), "--quick", "--only", "anomaly map*"]
    assert speed.main(arguments) == 0
    first = capsys.readouterr().out
    assert "| anomaly map, 1 thread, batch 8 | " in first
    assert "Maps differ by " in first
    file = tmp_path / "speed.parquet"
    written = file.stat().st_mtime_ns
    assert speed.main(arguments) == 0
    assert file.stat().st_mtime_ns == written
    assert first.endswith(capsys.readouterr().out)


def test_costs_of_the_expert(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert expert_cost.main([*_common(tmp_path), "--batch", "2", "--only", "weights"]) == 0
    # As `benchmarks/results/expert_cost.md` has them.
    rows = capsys.readouterr().out.splitlines()
    assert "| ReverseDistillation | 20.6 |" in rows
    assert "| with deviation mahalanobis | 48.7 |" in rows


def test_image_size(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert image_size.main([*_common(tmp_path), "--sizes", "64"]) == 0
    assert "\n| 64 | " in capsys.readouterr().out


def _run_transformers(arguments: list[str]) -> None:
    """Run the study with small networks, as if int8 were faster: otherwise an export refuses it."""
    transformers.DINOMALY = ("vit_small_patch14_reg4_dinov2", 56)
    transformers.TEACHERS = {transformers.BASE: ("resnet18", 64), "ViT": ("test_vit", 64)}
    quantization.latencies = lambda *_: [2.0, 1.0]
    raise SystemExit(transformers.main(arguments))


def test_transformers(tmp_path: Path) -> None:
    arguments = [*_common(tmp_path), "--turns", "1", "--batch", "2", "--calibration", "2"]
    # In a process of its own, since it ended by a signal in one that had run ten other studies.
    done = run_function(tmp_path, _run_transformers, arguments)
    assert done.status == 0, done.output[-3000:]
    rows = read(tmp_path / "transformers.parquet")
    assert rows["failure"].isna().all()
    assert rows["what"].nunique() == 9
    for row in ("step of 2: peak memory", "one image, torch", "one image, OpenVINO float32"):
        assert f"| {row} | " in done.output
    assert "| teacher | step of 2, ms | step of 2, times | " in done.output
    assert "| ViT | " in done.output


def test_many_parts(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for split in ("train", "test"):
        for name, kind in (("horse", "good"), ("ship", "stain")):
            source = root / "magnetic_tile" / ("train/good" if split == "train" else f"test/{kind}")
            shutil.copytree(source, tmp_path / "data" / many_parts.CIFAR / split / name)
    shutil.copytree(root / "magnetic_tile", tmp_path / "data/magnetic_tile")
    arguments = ["all", "each", "--root", str(tmp_path / "data"), *_common(tmp_path), "--workers", "0", "--steps", "2"]
    arguments += ["--batch", "4", "--image-size", "64", "--images", "4", "--parts", "tiles", "horse"]
    assert many_parts.main([*arguments, "--models", "ReverseDistillation"]) == 0
    shown = capsys.readouterr().out
    assert "| ReverseDistillation | all |" in shown
    assert "| ReverseDistillation | each |" in shown
    rows = read(tmp_path / "many_parts.parquet")
    assert rows.groupby("trained")["tested"].apply(sorted).to_dict() == {"all": ["horse", "tiles"]} | {
        "each": ["horse", "tiles"]
    }
