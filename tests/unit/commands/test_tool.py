# SPDX-License-Identifier: Apache-2.0
"""The tool as a whole: its help, its exit statuses, and the package's configurations by name."""

import subprocess
import sys
from pathlib import Path

import pytest

from rd_plugin.commands import command_line
from rd_plugin.commands.command_line import WrongInput

from .conftest import Tool

# What is imported by the help that lists the subcommands.
HELP = """
import sys
from rd_plugin.commands.tool import main

main(["--help"])
print("loaded:", {"anomalib", "lightning", "torch"} & sys.modules.keys() or "nothing slow")
"""


def test_help_waits_for_nothing_slow() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True, timeout=300)
    assert "loaded: nothing slow" in done.stdout


def test_traceback_when_asked_for(tool: Tool) -> None:
    with pytest.raises(WrongInput):
        tool("--traceback", "inspect", "none.xml", "a.png")


def test_faults_of_the_program_are_shown_and_have_a_status_of_their_own(
    tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(command_line.inspect, "run", fail)
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    status, _, errors = tool("inspect", "model.xml", "a.png")
    assert status == 3
    assert errors.splitlines()[-1] == "ZeroDivisionError"
    assert "Traceback" in errors


def test_module_and_console_script_are_the_same_function() -> None:
    root = Path(__file__).parents[3]
    assert 'rd-plugin = "rd_plugin.commands.tool:main"' in (root / "pyproject.toml").read_text()
    assert "from rd_plugin.commands.tool import main" in (root / "rd_plugin" / "__main__.py").read_text()
