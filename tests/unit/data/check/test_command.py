# SPDX-License-Identifier: Apache-2.0
"""``python -m rd_plugin check``."""

import shutil
from pathlib import Path

import pytest
import yaml

from rd_plugin.data.check import command


@pytest.fixture
def root(mvtec_root: Path, tmp_path: Path) -> Path:
    shutil.copytree(mvtec_root, tmp_path / "data")
    return tmp_path / "data"


def arguments(root: Path) -> list[str]:
    return ["--data", "MVTec", "--data.root", str(root), "--data.category", "tile"]


def test_counts_and_notes(root: Path, capsys: pytest.CaptureFixture) -> None:
    command.main(arguments(root))
    first, *_, note = capsys.readouterr().out.splitlines()
    assert first == "12 train + 12 val + 12 test images: 0 problems, 1 notes."
    assert note.startswith("  val         | there are 4 good images")


def test_problems_end_in_status_1(root: Path, capsys: pytest.CaptureFixture) -> None:
    path = root / "tile/train/good/003.png"
    path.write_bytes(b"")
    with pytest.raises(SystemExit) as stop:
        command.main(arguments(root))
    assert stop.value.code == 1
    assert f"  {path} | the file is empty." in capsys.readouterr().out.splitlines()


def test_configuration_of_a_training(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data = {"class_path": "rd_plugin.MVTec", "init_args": {"root": str(root), "category": "bottle"}}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"model": {"class_path": "rd_plugin.ReverseDistillation"}, "data": data}))
    command.main(["--config", str(config), "--data.category", "tile"])
    assert "12 train" in capsys.readouterr().out


def test_configuration_without_data(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("model: {}")
    with pytest.raises(SystemExit) as stop:
        command.main(["--config", str(config)])
    assert stop.value.code == 2
    assert "has no section 'data' that can be read" in capsys.readouterr().err
