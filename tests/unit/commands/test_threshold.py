# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin threshold``: a threshold for new images."""

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.compatibility.make_files import FILES, draw

from .conftest import Tool


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(FILES / "0.2.0" / "reverse_distillation" / "model.ckpt", "model.ckpt")
    for folder, count, seed in (("good", 9, 3), ("defect", 3, 4)):
        Path(folder).mkdir()
        for index, pixels in enumerate(draw(count, seed)):
            pixels[4:12, 4:12] //= 1 if folder == "good" else 8
            Image.fromarray(pixels).save(f"{folder}/{index}.png")


def test_rate_of_new_good_images(tool: Tool) -> None:
    before = Path("model.ckpt").read_bytes()
    done = tool("threshold", "model.ckpt", "--good", "good", "--defect", "defect", "--rate", "0.2")
    assert done.status == 0, done.errors
    rows = [line.split()[:2] for line in done.output.splitlines()[1:5]]
    assert rows == [["0.1", "%"], ["1", "%"], ["5", "%"], ["20", "%"]]
    assert "20 % *" in done.output
    assert "of 3 (" in done.output
    assert "model_threshold.ckpt written" in done.output
    assert Path("model.ckpt").read_bytes() == before
    verdicts = tool("inspect", "model_threshold.ckpt", "good").output
    # Of nine images, the rate of 20 % leaves one above: (1 + 1) / (9 + 1).
    assert verdicts.count("anomalous") == 1


def test_by_hand_equals_a_trial(tool: Tool) -> None:
    assert tool("threshold", "model.ckpt", "--value", "0.9", "--output", "new.ckpt").status == 0
    assert tool("inspect", "model.ckpt", "good", "defect", "--threshold", "0.9", "--csv", "trial.csv").status == 0
    assert tool("inspect", "new.ckpt", "good", "defect", "--csv", "new.csv").status == 0
    trial, new = (Path(name).read_text().splitlines()[1:] for name in ("trial.csv", "new.csv"))
    assert [line.split(",")[1] for line in trial] == [line.split(",")[1] for line in new]
    assert {line.split(",")[3] for line in trial} == {"0.9"}
    assert {line.split(",")[3] for line in new} == {"0.5"}


def test_model_that_was_never_validated_gets_its_first_threshold(tool: Tool) -> None:
    content = torch.load("model.ckpt", weights_only=False)
    for name, value in content["state_dict"].items():
        if name.startswith("post_processor."):
            value.fill_(torch.nan)
    torch.save(content, "none.ckpt")
    done = tool("inspect", "none.ckpt", "good")
    assert (done.status, "rd-plugin threshold CHECKPOINT --good FOLDER" in done.errors) == (2, True), done.errors
    done = tool("threshold", "none.ckpt", "--good", "good", "--rate", "0.2")
    assert done.status == 0, done.errors
    assert "the threshold; the model had none" in done.output
    assert tool("threshold", "model.ckpt", "--good", "good", "--rate", "0.2").status == 0
    assert tool("inspect", "none_threshold.ckpt", "good", "--csv", "first.csv").status == 0
    assert tool("inspect", "model_threshold.ckpt", "good", "--csv", "second.csv").status == 0
    first, second = (Path(name).read_text().splitlines()[1:] for name in ("first.csv", "second.csv"))
    assert [line.split(",")[1] for line in first] == [line.split(",")[1] for line in second]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give good FOLDER, whose scores set the threshold, or value, the threshold by hand"),
        (("--good", "good", "--value", "0.3"), "one of them"),
        (("--good", "good", "--rate", "2"), "rate must be a fraction between 0 and 1, got 2"),
        (("--value", "0.4", "--output", "model.ckpt"), "output 'model.ckpt' exists already"),
        (("--value", "1.5"), "must be a score above 0 and below 1, got 1.5"),
    ],
)
def test_what_is_wrong(tool: Tool, arguments: tuple[str, ...], message: str) -> None:
    done = tool("threshold", "model.ckpt", *arguments)
    assert (done.status, message in done.errors) == (2, True), done.errors
    assert not Path("model_threshold.ckpt").exists()
