# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin compare``: which models are tried, and what becomes of one that fails."""

from pathlib import Path
from typing import Any

import pytest

from rd_plugin import comparison
from rd_plugin.comparison import methods

from ..comparison.test_recommendation import trial
from .conftest import Tool


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The models that were built; trials are replaced, and that of ``anomalib.Stfpm`` fails."""
    monkeypatch.chdir(tmp_path)
    found: list[tuple[Any, ...]] = []

    def run(title: str, model: str, images: Any, part: str, accelerator: str, steps: int) -> comparison.Trial:
        assert (images.seed, accelerator) == (3, "auto")
        assert Path(images.root).name == part
        found[-1] += (part, steps)
        if model == "anomalib.Stfpm":
            msg = "no\nweights"
            raise RuntimeError(msg)
        return trial(title, 2.0, 1.0, part)

    monkeypatch.setattr(methods, "build", lambda *given: found.append(given) or given[0])
    monkeypatch.setattr(comparison, "run_trial", run)
    return found


def parts(*names: str) -> Path:
    for name in names:
        folder = Path("parts") / name / "good"
        folder.mkdir(parents=True)
        (folder / "0.png").touch()
    return Path("parts")


def test_each_model_on_each_part(tool: Tool, built: list[tuple[Any, ...]]) -> None:
    models = ("anomalib.Patchcore:coreset_sampling_ratio=0.01", "ReverseDistillation")
    root = parts("cap", "nut")
    done = tool("compare", "--data.root", root, "--models", *models, "--steps", "7", "--seed", "3", "--backbone", "b")
    assert done.status == 0, done.errors
    teacher = ("b", "true", 256)
    assert built == [
        ("anomalib.Patchcore", {"coreset_sampling_ratio": 0.01}, *teacher, "cap", 0),
        ("anomalib.Patchcore", {"coreset_sampling_ratio": 0.01}, *teacher, "nut", 0),
        ("ReverseDistillation", {}, *teacher, "cap", 7),
        ("ReverseDistillation", {}, *teacher, "nut", 7),
    ]
    assert "Take " in done.output
    assert "comparison.html written." in done.output
    assert Path("comparison.html").is_file()


@pytest.mark.usefixtures("built")
def test_a_model_that_fails_is_left_out_and_named(tool: Tool) -> None:
    root = parts("")
    done = tool("compare", "--data.root", root, "--models", "anomalib.Stfpm", "ReverseDistillation", "--seed", "3")
    assert done.status == 1
    assert "Left out: anomalib.Stfpm: no weights" in done.errors
    assert "Left out: anomalib.Stfpm: no weights" in Path("comparison.html").read_text()
    done = tool("compare", "--data.root", root, "--models", "anomalib.Stfpm", "--seed", "3", "--output", "new.html")
    assert done.status == 2
    assert "no model could be compared: anomalib.Stfpm: no weights" in done.errors
    assert not Path("new.html").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--models", "Nothing"), "model 'Nothing' is unknown"),
        (("--models", "anomalib.Padim:n_features"), "'n_features' has no value"),
        (("--models", "ReverseDistillation", "--output", "none/a.html"), "output 'none/a.html' must be a file"),
    ],
)
def test_wrong_input(tool: Tool, built: list[tuple[Any, ...]], arguments: tuple[str, ...], message: str) -> None:
    done = tool("compare", "--data.root", parts(""), *arguments)
    assert (done.status, built) == (2, [])
    assert message in done.errors
