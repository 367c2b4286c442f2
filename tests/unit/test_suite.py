# SPDX-License-Identifier: Apache-2.0
"""The tests themselves: none waits without a bound, and three runs in turn run each slow one."""

import ast
from pathlib import Path

from ..conftest import in_third

TESTS = Path(__file__).parents[1]
# Calls that wait, and the place of their timeout if it is given without its name.
PROGRAMS = {"run", "call", "check_call", "check_output"}
WAITS = {"communicate": 1, "wait": 0, "join": 0, "result": 0, "get": 1, "urlopen": 2}
# Whose `get`, `join` and `result` wait: other objects have methods of these names, too.
WAITING = {"join": ("thread", "process", "worker"), "get": ("queue",), "result": ("future", "run")}


def unbounded(source: str) -> list[str]:
    """Return the calls in a text that may wait for ever."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        name, owner = node.func.attr, ast.unparse(node.func.value)
        program = owner == "subprocess" and name in PROGRAMS
        waits = name in WAITS and any(word in owner.lower() for word in WAITING.get(name, ("",)))
        bounded = any(keyword.arg == "timeout" for keyword in node.keywords)
        if waits and not program:
            bounded = bounded or len(node.args) > WAITS[name]
        if (program or waits) and not bounded:
            found.append(ast.unparse(node))
    return found


def test_every_wait_has_a_bound() -> None:
    found = {
        path.relative_to(TESTS): unbounded(path.read_text()) for path in TESTS.rglob("*.py") if path != Path(__file__)
    }
    assert {path: calls for path, calls in found.items() if calls} == {}


def test_unbounded_waits_are_found() -> None:
    lines = ["subprocess.run(['a'])", "process.wait()", "thread.join()", "queue.get()", "future.result()"]
    assert unbounded("\n".join(lines)) == lines
    assert unbounded("subprocess.run(['a'], timeout=1)\nprocess.wait(1)\n', '.join(a)\ncache.get('a')") == []


def test_three_thirds_are_all_tests() -> None:
    names = [f"tests/test_{index}.py" for index in range(300)]
    thirds = [[name for name in names if in_third(name, run)] for run in (7, 8, 9)]
    assert sorted(name for third in thirds for name in third) == sorted(names)
    assert min(map(len, thirds)) > 50
