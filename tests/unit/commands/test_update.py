# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin update``: the table, and what is wrong."""

from pathlib import Path

import pytest

from rd_plugin.feedback import Update
from rd_plugin.results import Share

from .conftest import Tool


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("model.ckpt", "a.png", "b.png", "c.png"):
        Path(name).touch()
    Path("labels.csv").write_text("path,label,note\na.png,good,\nb.png,defect,\nc.png,unclear,\n")


def test_labels_and_table(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []

    def update_model(*places: Path, **options: object) -> Update:
        given.extend([*places, options["defects"], options["tolerate"], options["steps"]])
        return Update(20, (Share(9, 10), Share(0, 10)), None, (Share(5, 5), Share(4, 5)))

    monkeypatch.setattr("rd_plugin.feedback.update_model", update_model)
    done = tool("update", "model.ckpt", "--labels", "labels.csv", "--tolerate", "0.2")
    assert done.status == 0, done.errors
    assert given == [Path("model.ckpt"), Path("model_updated.ckpt"), [Path("a.png")], [Path("b.png")], 0.2, 50]
    lines = [" ".join(line.split()) for line in done.output.splitlines()]
    assert "20 new good images learned before after" in lines
    assert "false alarms, new good images held out 9 of 10 (90.0 %) 0 of 10 (0.0 %)" in lines
    assert "false alarms, good images of the training none given" in lines
    assert "defects found 5 of 5 (100.0 %) 4 of 5 (80.0 %)" in lines


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("model.ckpt",), "give good FOLDER, or labels FILE with images that are marked as good"),
        (("nodel.ckpt", "--labels", "labels.csv"), "model 'nodel.ckpt' is not a file"),
        (
            ("model.ckpt", "--labels", "labels.csv", "--images", "elsewhere"),
            "is not a file; relative paths start from 'elsewhere'",
        ),
    ],
)
def test_what_is_wrong(tool: Tool, arguments: tuple[str, ...], message: str) -> None:
    done = tool("update", *arguments)
    assert (done.status, message in done.errors) == (2, True), done.errors
