# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin serve``."""

import builtins
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from rd_plugin import serving
from rd_plugin.products import Store

from ...waiting import wait_until
from ..inspection.conftest import save
from ..serving.conftest import png
from .conftest import Tool

__all__ = ["save"]


@pytest.fixture
def served(save: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A store, and what the server is started with."""
    monkeypatch.chdir(tmp_path)
    Store("products").add("gasket", save(height=4))
    given: dict[str, Any] = {}

    def serve(app: object, host: str, port: int, body_seconds: float) -> None:
        given.update(host=host, port=port, body_seconds=body_seconds)
        with TestClient(app, base_url="http://localhost") as client:  # type: ignore[arg-type]
            wait_until(lambda: client.get("/ready").status_code == 200)
            token = {"Authorization": "Bearer 0123456789abcdef"}
            given["small"] = client.post("/inspect?path=a.png", content=png(204), headers=token)
            given["large"] = client.post("/inspect", content=png(204, 40), headers=token)
            given["open"] = client.get("/products").status_code

    monkeypatch.setattr(serving, "serve", serve)
    return given


def test_verdict_over_http_is_that_of_inspect(tool: Tool, served: dict[str, Any]) -> None:
    status, _, errors = tool("serve", "products", "--device", "AUTO")
    assert status == 0
    assert "Device AUTO: the score of the first image is 0.80000, on the CPU 0.80000." in errors
    assert (served["host"], served["port"], served["body_seconds"]) == ("127.0.0.1", 8000, 30.0)
    Path("a.png").write_bytes(png(204))
    tool("inspect", "products", "a.png", "--product", "gasket", "--jsonl", "rows.jsonl")
    row = served["small"].json()
    of_file = json.loads(Path("rows.jsonl").read_text())
    own = {"milliseconds": 0, "time": ""}
    assert {**row, **own} == {**of_file, **own}
    assert row["verdict"] == "anomalous"
    assert served["open"] == 200


def test_limits_and_tokens(tool: Tool, served: dict[str, Any]) -> None:
    Path("tokens").write_text("robot 0123456789abcdef\n")
    options = [
        "--tokens",
        "tokens",
        "--host",
        "0.0.0.0",
        "--port",
        "1234",
        "--max_pixels",
        "100",
        "--body_seconds",
        "3",
    ]
    assert tool("serve", "products", *options).status == 0
    assert (served["host"], served["port"], served["body_seconds"]) == ("0.0.0.0", 1234, 3.0)
    assert served["small"].status_code == 200
    assert "max_pixels is 100" in served["large"].json()["reason"]
    assert served["open"] == 401
    assert tool("serve", "products", "--max_bytes", "10").status == 0
    assert served["small"].status_code == 413


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("none",), "store 'none' is not a folder; make it with `rd-plugin products add`."),
        (("products", "--host", "0.0.0.0"), "give --tokens FILE."),
        (("products", "--tokens", "none"), "none: No such file or directory."),
        (("products", "--queue", "0"), "queue"),
        (("products", "--mqtt", "broker"), "mqtt must be HOST/TOPIC"),
    ],
)
@pytest.mark.usefixtures("served")
def test_wrong_arguments(tool: Tool, arguments: tuple[str, ...], expected: str) -> None:
    status, _, errors = tool("serve", *arguments)
    assert status == 2
    assert expected in errors


@pytest.mark.usefixtures("served")
def test_package_that_is_missing_is_named(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    known = builtins.__import__

    def missing(name: str, *arguments: object) -> object:
        if name == "rd_plugin.serving":
            msg = "No module named 'uvicorn'"
            raise ModuleNotFoundError(msg, name="uvicorn")
        return known(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", missing)
    status, _, errors = tool("serve", "products")
    assert status == 2
    assert "serve needs uvicorn: pip install 'rd-plugin[serve]'." in errors
