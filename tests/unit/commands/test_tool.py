# SPDX-License-Identifier: Apache-2.0
"""The tool as a whole: its help, its exit statuses, and the package's configurations by name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rd_plugin.commands import inspect
from rd_plugin.commands.error_messages import WrongInput

from .conftest import Tool

# What is imported by the help that lists the subcommands.
HELP = """
import sys
from rd_plugin.commands.tool import main

for typed in ("--help", "train --help", "export -h", "threshold --help", "update --help", "report --help", "trian", ""):
    words = typed.split()
    try:
        main(words)
    except SystemExit as stop:
        print(words, "ended with", stop.code)
    print(words, "loaded:", {"anomalib", "lightning", "torch"} & sys.modules.keys() or "nothing slow")
"""


def test_help_and_misspelt_subcommands_wait_for_nothing_slow() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.count("loaded: nothing slow") == 8
    assert "['trian'] ended with 2" in done.stdout
    assert "rd-plugin: error: 'trian' is not a subcommand: " in done.stderr
    assert "Did you mean 'train'?" in done.stderr


def test_ctrl_c_while_a_model_is_loaded_is_one_line(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(inspect, "run", interrupted)
    status, output, errors = tool("inspect", "model.xml", "a.png")
    assert (status, output, errors) == (130, "", "rd-plugin: stopped by Ctrl+C.\n")


CODE_PAGE = """
import sys
from rd_plugin.commands import help_text
from rd_plugin.commands.tool import main

help_text.print_help = lambda: sys.stdout.write("a \u90e8\u4ef6.png: normal\\n")
import rd_plugin.commands.tool as tool
tool.print_help = help_text.print_help
main(["--help"])
"""


def test_names_that_a_pipe_cannot_show_are_escaped() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(
        [sys.executable, "-c", CODE_PAGE], capture_output=True, env=environment, check=True, timeout=300
    )
    assert done.stdout.decode("cp1252").splitlines() == ["a \\u90e8\\u4ef6.png: normal"]


def test_traceback_when_asked_for(tool: Tool) -> None:
    with pytest.raises(WrongInput):
        tool("--traceback", "inspect", "none.xml", "a.png")


def test_faults_of_the_program_are_shown_and_have_a_status_of_their_own(
    tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(inspect, "run", fail)
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    status, _, errors = tool("inspect", "model.xml", "a.png")
    assert status == 3
    assert errors.splitlines()[-1] == "ZeroDivisionError"
    assert "Traceback" in errors


def test_module_and_console_script_are_the_same_function() -> None:
    root = Path(__file__).parents[3]
    assert 'rd-plugin = "rd_plugin.commands.tool:main"' in (root / "pyproject.toml").read_text()
    assert "from rd_plugin.commands.tool import main" in (root / "rd_plugin" / "__main__.py").read_text()
