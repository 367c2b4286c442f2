# SPDX-License-Identifier: Apache-2.0
"""No ``or`` stands in for a missing number: 0 is one, and would be replaced, too."""

import ast
from pathlib import Path

import pytest

import rd_plugin

# None if the system does not say, and never 0.
ALLOWED = {"os.cpu_count() or 1"}


def alternatives(source: str) -> list[str]:
    """Every ``or`` one of whose operands is a number or a constant."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or) and any(map(is_number, node.values))
    ]


def is_number(node: ast.expr) -> bool:
    number = isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool)
    return number or (isinstance(node, ast.Name) and node.id.isupper())


@pytest.mark.parametrize(
    ("source", "found"),
    [("threshold or 0.5", 1), ("f(x or _LIMIT)", 1), ("(a or b) or 1", 1), ("x == 0 or y > 1", 0), ("name or ''", 0)],
)
def test_they_are_found(source: str, found: int) -> None:
    assert len(alternatives(source)) == found


def test_package_has_none() -> None:
    files = sorted(Path(rd_plugin.__file__).parent.rglob("*.py"))
    assert len(files) > 100
    assert {text for file in files for text in alternatives(file.read_text(encoding="utf-8"))} <= ALLOWED
