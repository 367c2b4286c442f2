# SPDX-License-Identifier: Apache-2.0
"""The loop over folders: whatever becomes of one, the others are trained, and a second run goes on.

Trainings are replaced here; ``tests/integration/test_each.py`` has real ones.
"""

import json
import sys
from argparse import ArgumentError
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rd_plugin.commands import each
from rd_plugin.commands.argv import option_value
from rd_plugin.commands.each import train_each
from rd_plugin.commands.error_messages import WrongInput
from rd_plugin.report import Outcome

WORDS = ["train", "--config", "folder.yaml", "--data.root", "parts"]

Train = Callable[[str], None]


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Folders of three products and a folder of something else; the products whose training has begun."""
    monkeypatch.chdir(tmp_path)
    for folder in ("parts/cap/good", "parts/nut/good", "parts/screw/good", "parts/notes", "parts/.hidden/good"):
        Path(folder).mkdir(parents=True)
    names: list[str] = []
    trains(monkeypatch, names.append)
    return names


def trains(monkeypatch: pytest.MonkeyPatch, train: Train) -> None:
    """Replace a training by a function of the product's name."""

    def line(words: list[str]) -> str:
        folder = Path(option_value("--data.root", words))
        assert option_value("--data.name", words) == folder.name
        assert option_value("--default_root_dir", words) == str(Path("results") / "parts")
        train(folder.name)
        return folder.name

    monkeypatch.setattr(each, "CommandLine", line)
    monkeypatch.setattr(each, "_trained", lambda _line, name, *_: Outcome(name, training=20))


def test_one_that_fails_does_not_stop_the_others(
    begun: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def train(name: str) -> None:
        begun.append(name)
        if name == "nut":
            msg = "the loss\nis not finite"
            raise ZeroDivisionError(msg)

    trains(monkeypatch, train)
    assert train_each([*WORDS, "--each"]) == 1
    assert begun == ["cap", "nut", "screw"]
    assert "Skipped, without 'good': notes" in caplog.messages
    rows = [line.split()[:2] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert rows[1:4] == [["cap", "20"], ["nut", "failed:"], ["screw", "20"]]
    page = Path("results/parts/index.html").read_text()
    assert "2 of 3 products have a new model." in page
    assert "ZeroDivisionError: the loss is not finite" in page


def test_resume_trains_what_has_no_model_yet(begun: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(name: str) -> None:
        if name == "cap":
            msg = "cap: no image could be read."
            raise WrongInput(msg)
        if name == "screw":
            raise SystemExit(143)

    trains(monkeypatch, stopped)
    with pytest.raises(SystemExit):
        train_each([*WORDS, "--each"])
    found = json.loads(Path("results/parts/products.json").read_text())["products"]
    assert [(entry["product"], entry["reason"]) for entry in found] == [
        ("cap", "cap: no image could be read."),
        ("nut", ""),
    ]
    trains(monkeypatch, begun.append)
    assert train_each([*WORDS, "--each", "--resume"]) == 0
    assert begun == ["cap", "screw"]
    assert train_each([*WORDS, "--resume", "--each"]) == 0
    assert begun == ["cap", "screw"]
    # Without it all are trained anew.
    train_each([*WORDS, "--each"])
    assert begun == ["cap", "screw", "cap", "nut", "screw"]


def test_resume_with_other_arguments_is_refused(begun: list[str]) -> None:
    train_each([*WORDS, "--each"])
    with pytest.raises(WrongInput, match=r"resume continues the command of .*products.json.: rd-plugin train"):
        train_each([*WORDS, "--each", "--resume", "--trainer.max_steps", "3"])
    assert len(begun) == 3


def test_an_option_that_is_wrong_for_all_stops_at_once(begun: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        begun.append(name)
        msg = "--trainer.max_stps is unknown"
        raise WrongInput(msg) from ArgumentError(None, msg)

    trains(monkeypatch, refuse)
    with pytest.raises(WrongInput, match="max_stps"):
        train_each([*WORDS, "--each"])
    assert begun == ["cap"]
    assert not Path("results/parts/products.json").exists()


def test_a_folder_that_cannot_name_a_product_is_not_trained_on(begun: list[str]) -> None:
    Path("parts/screw").rename("parts/screw M3")
    assert train_each([*WORDS, "--each"]) == 1
    assert begun == ["cap", "nut"]
    assert "product must be a name of up to 60 letters" in Path("results/parts/index.html").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--config", "folder.yaml"], "each needs --data.root FOLDER"),
        ([*WORDS[:-1], "parts/cap"], "data.root 'parts/cap' has no folder with 'good' in it"),
        ([*WORDS, "--data.name", "mine"], "data.name is for one training"),
        ([*WORDS, "--ckpt_path", "a.ckpt"], "ckpt_path is for one training"),
        ([*WORDS, "--engine", "spark"], "engine must be local or ray, got 'spark'"),
        ([*WORDS, "--engine"], "engine must be local or ray, got '--each'"),
        ([*WORDS, "--threads", "2"], "threads is for --engine ray, got engine 'local'"),
        ([*WORDS, "--engine", "ray", "--threads", "0"], "threads must be a number of cores, at least 1, got '0'"),
    ],
)
@pytest.mark.usefixtures("begun")
def test_wrong_input(words: list[str], message: str) -> None:
    with pytest.raises(WrongInput, match=message):
        train_each([*words, "--each"])


def test_on_ray_the_same_comes_of_it(
    begun: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    asked = []

    def on_ray(train: Callable, products: list[str], *more: object) -> Iterator[tuple[str, Outcome]]:
        asked.append((products, *more))
        # In the order in which they end.
        yield from ((product, train(product)) for product in reversed(products))

    monkeypatch.setattr(each, "outcomes_on_ray", on_ray)
    train_each([*WORDS, "--each"])
    expected = capsys.readouterr().out
    Path("parts/bolt/good").mkdir(parents=True)
    # What is trained does not hang on the engine.
    words = [*WORDS, "--each", "--engine=ray", "--threads", "2", "--trainer.accelerator", "cpu"]
    with pytest.raises(WrongInput, match="resume continues the command of"):
        train_each([*words, "--resume"])
    assert train_each([*words[:-2], "--resume"]) == 0
    assert train_each(words) == 0
    assert asked == [(["bolt"], 2, None), (["bolt", "cap", "nut", "screw"], 2, "cpu")]
    assert begun == ["cap", "nut", "screw", "bolt", "screw", "nut", "cap", "bolt"]
    bolt, *others = (line for line in capsys.readouterr().out.splitlines() if line.endswith("0.0"))
    assert bolt.split()[0] == "bolt"
    assert others[:3] == [line for line in expected.splitlines() if line.endswith("0.0")]


def test_products_at_an_address(begun: list[str], tmp_path: Path) -> None:
    for name in ("parts/cap/good/0.png", "parts/screw/good/0.png", "parts/notes/a.txt"):
        Path(name).touch()
    words = [word if word != "parts" else f"file://{tmp_path}/parts/" for word in WORDS]
    assert train_each([*words, "--each"]) == 0
    assert begun == ["cap", "screw"]
    with pytest.raises(WrongInput, match=r"data.root 'file:.*/none' has no folder with 'good' in it"):
        train_each([*words[:-1], f"file://{tmp_path}/none", "--each"])


@pytest.mark.usefixtures("begun")
def test_what_a_cluster_lacks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(WrongInput, match=r"engine ray needs ray: pip install 'rd-plugin\[ray\]'"):
        train_each([*WORDS, "--each", "--engine", "ray"])
    assert not Path("results/parts/products.json").exists()


@pytest.mark.usefixtures("begun")
def test_damaged_file_of_outcomes_is_named() -> None:
    Path("results/parts").mkdir(parents=True)
    Path("results/parts/products.json").write_text("{}")
    with pytest.raises(WrongInput, match=r"products.json' does not contain results of trainings"):
        train_each([*WORDS, "--each", "--resume"])
