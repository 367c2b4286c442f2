# SPDX-License-Identifier: Apache-2.0
"""Options that send results to other programs."""

import builtins
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rd_plugin.delivery import Deliverer

from ...pictures import draw
from ..delivery.test_webhook import Receiver, receiver
from ..inspection.conftest import save
from .conftest import Tool

__all__ = ["receiver", "save"]


@pytest.fixture
def model(save: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model, and two pictures."""
    monkeypatch.chdir(tmp_path)
    for index, level in enumerate((51, 204)):
        draw(f"in/{index}.png", level)
    return save(height=4)


def test_each_row_is_sent(tool: Tool, model: Path, receiver: tuple[type[Receiver], str]) -> None:
    kind, url = receiver
    assert tool("inspect", model, "in", "--webhook", url, "--jsonl", "rows.jsonl").status == 0
    rows = Path("rows.jsonl").read_text().splitlines()
    assert [json.loads(row)["verdict"] for row in rows] == ["normal", "anomalous"]
    assert [body for *_, body in kind.received] == rows


def test_rows_that_cannot_be_sent_are_kept(
    tool: Tool, model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Deliverer.__init__, "__defaults__", (100_000, 0.0))
    status, output, _ = tool("inspect", model, "in", "--mqtt", "127.0.0.1:9/line", "--spool", "kept")
    assert status == 0
    assert output.count("\n") == 2
    assert "mqtt 127.0.0.1:9/line: 2 rows are not delivered; the next run will send them." in caplog.messages
    (file,) = Path("kept").glob("*.sqlite")
    assert file.is_file()
    assert not Path("spool").exists()


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--mqtt", "broker", "mqtt must be HOST/TOPIC"),
        ("--webhook", "example.com", "webhook must be an address like"),
        ("--spool_rows", "0", "spool_rows"),
    ],
)
def test_wrong_options(tool: Tool, model: Path, option: str, value: str, expected: str) -> None:
    status, _, errors = tool("inspect", model, "in", option, value)
    assert status == 2
    assert expected in errors


def test_package_that_is_missing_is_named(tool: Tool, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = builtins.__import__

    def missing(name: str, *arguments: object) -> object:
        if name.partition(".")[0] in {"httpx", "paho"}:
            msg = f"No module named {name!r}"
            raise ModuleNotFoundError(msg, name=name)
        return known(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", missing)
    for options in (("--mqtt", "broker/line"), ("--webhook", "http://localhost/rows")):
        status, _, errors = tool("inspect", model, "in", *options)
        assert status == 2
        assert "pip install 'rd-plugin[messages]'" in errors
