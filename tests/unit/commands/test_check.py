# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin check``."""

import shutil
from pathlib import Path

import yaml
from PIL import Image

from .conftest import Tool


def arguments(root: Path) -> list[str]:
    return ["check", "--data", "rd_plugin.MVTec", "--data.root", str(root), "--data.category", "tile"]


def test_counts_and_notes(root: Path, tool: Tool) -> None:
    status, output, _ = tool(*arguments(root))
    assert status == 0
    first, *_, note = output.splitlines()
    assert first == "12 train + 12 val + 12 test images: 0 problems, 1 note."
    assert note.startswith("  val         | there are 4 normal images")


def test_an_outlier_among_the_training_images_is_noted(root: Path, tool: Tool) -> None:
    for index in range(20):
        shutil.copy(root / "tile/test/good/000.png", root / f"tile/train/good/copy{index}.png")
    Image.new("RGB", (96, 96), (255, 255, 255)).save(root / "tile/train/good/white.png")
    _, output, _ = tool(*arguments(root))
    assert "  train" in output
    assert "1 of 33 images look unlike the others: white.png (" in output


def test_problems_end_in_status_1(root: Path, tool: Tool) -> None:
    path = root / "tile/train/good/003.png"
    path.write_bytes(b"")
    status, output, _ = tool(*arguments(root))
    assert status == 1
    assert f"  {path} | the file is empty." in output.splitlines()


def test_masks_that_are_missing_end_in_status_1(root: Path, tool: Tool) -> None:
    (root / "tile/ground_truth/stain/000_mask.png").unlink()
    status, output, _ = tool(*arguments(root))
    assert status == 1
    assert "the image of a defect has no mask" in output


def test_configuration_of_a_training(root: Path, tmp_path: Path, tool: Tool) -> None:
    """All its sections may be there; that for the data is used."""
    config = tmp_path / "config.yaml"
    sections = {
        "seed_everything": 0,
        "model": {"class_path": "rd_plugin.ReverseDistillation", "init_args": {"backbone": "not built"}},
        "data": {"class_path": "rd_plugin.MVTec", "init_args": {"root": str(root), "category": "bottle"}},
        "trainer": {"max_epochs": 2},
        "default_root_dir": "elsewhere",
    }
    config.write_text(yaml.safe_dump(sections))
    status, output, _ = tool("check", "--config", config, "--data.category", "tile")
    assert status == 0
    assert "12 train" in output


def test_configuration_without_data(tmp_path: Path, tool: Tool) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("model: {}")
    status, _, errors = tool("check", "--config", config)
    assert status == 2
    assert "'check.data' is required" in errors


def test_many_parts(root: Path, tool: Tool) -> None:
    for index, name in enumerate(("cap", "screw")):
        for image in sorted((root / "tile/train/good").glob("*.png")):
            place = root / "parts" / name / "good" / image.name
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.open(image).rotate(90 * index).save(place)
    (root / "parts/screw/good/000.png").unlink()
    check = ["check", "--data", "PartsFolder", "--data.root", str(root / "parts")]
    status, output, _ = tool(*check)
    assert status == 0
    assert "there are 6 normal images of cap, screw to set thresholds on" in output
    shutil.rmtree(root / "parts/cap/good")
    shutil.copytree(root / "tile/test/stain", root / "parts/cap/defect")
    status, output, _ = tool(*check)
    assert status == 1
    assert "has 2 parts, of which 1 cannot be used" in output
