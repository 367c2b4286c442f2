# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin products``, and ``inspect`` with a folder of products."""

import json
from pathlib import Path

import pytest

from rd_plugin.inspection import load_inferencer

from ...pictures import draw
from ..inspection.conftest import save  # noqa: F401
from .conftest import Tool


@pytest.fixture
def model(save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    monkeypatch.chdir(tmp_path)
    return save(height=4)


def test_products_at_the_command_line(tool: Tool, model: Path) -> None:
    assert tool("products", "list", "products").output == ""
    for name in ("seal", "gasket"):
        added = tool("products", "add", "products", name, model)
        assert added.output == f"{name}: model.xml added, model {load_inferencer(model).record_id}.\n"
    status, output, _ = tool("products", "list", "products")
    assert status == 0
    assert [line.partition(", added")[0] for line in output.splitlines()] == [
        f"{name}: model.xml, model {load_inferencer(model).record_id}" for name in ("gasket", "seal")
    ]
    status, _, errors = tool("products", "add", "products", "seal", model)
    assert status == 2
    assert "product 'seal' is in 'products' already" in errors
    assert tool("products", "add", "products", "seal", model, "--replace").status == 0
    assert tool("products", "remove", "products", "seal").output == "seal: removed.\n"
    assert tool("products", "list", "products").output.startswith("gasket: ")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("add", "products", "seal"), "products add needs STORE and NAME and MODEL, got 1 more arguments."),
        (("remove", "products"), "products remove needs STORE and NAME, got 0 more arguments."),
        (("list", "products", "seal"), "products list needs STORE, got 1 more arguments."),
        (("add", "products", "../seal", "model.xml"), "product must be a name of up to 60 letters"),
        (("remove", "products", "seal"), "product 'seal' is not in 'products'; there: none."),
    ],
)
@pytest.mark.usefixtures("model")
def test_wrong_arguments(tool: Tool, arguments: tuple[str, ...], expected: str) -> None:
    status, _, errors = tool("products", *arguments)
    assert status == 2
    assert expected in errors
    assert not Path("products").exists()


def _rows(path: str) -> list[tuple[str, str, str]]:
    rows = map(json.loads, Path(path).read_text().splitlines())
    return [(row["path"], row["product"], row["verdict"]) for row in rows]


def test_images_of_products(tool: Tool, model: Path) -> None:
    for name in ("seal", "gasket"):
        tool("products", "add", "products", name, model)
        draw(f"in/{name}/1.png", 204)
    one = tool("inspect", "products", "in/seal", "--product", "gasket", "--jsonl", "one.jsonl")
    assert (one.status, _rows("one.jsonl")) == (0, [("in/seal/1.png", "gasket", "anomalous")])
    mixed = ("inspect", "products", "in", "--product_from", "path", "--jsonl", "mixed.jsonl")
    status, output, _ = tool(*mixed)
    assert status == 0
    assert output == "in/gasket/1.png: anomalous, score 0.800\nin/seal/1.png: anomalous, score 0.800\n"
    assert _rows("mixed.jsonl") == [
        ("in/gasket/1.png", "gasket", "anomalous"),
        ("in/seal/1.png", "seal", "anomalous"),
    ]
    draw("in/other/1.png", 204)
    status, output, errors = tool(*mixed, "--resume", "--report", "report.html")
    assert (status, output) == (1, "")
    assert "in/other/1.png: no folder in its path is named after a product (gasket, seal)." in errors
    assert _rows("mixed.jsonl")[2:] == [("in/other/1.png", "", "error")]
    assert Path("report.html").is_file()


def test_folder_and_product_go_together(tool: Tool, model: Path) -> None:
    tool("products", "add", "products", "seal", model)
    for arguments in (
        ("products", "a.png"),
        (model, "a.png", "--product", "seal"),
        ("products", "a.png", "--product", "seal", "--product_from", "path"),
    ):
        status, _, errors = tool("inspect", *arguments)
        assert status == 2
        assert "product or product_from is needed with a folder of products, and only there" in errors
    assert "product 'gasket' is not in" in tool("inspect", "products", "a.png", "--product", "gasket").errors
    assert "fail_on_drift" in tool("inspect", "products", "a.png", "--product", "seal", "--fail_on_drift").errors
