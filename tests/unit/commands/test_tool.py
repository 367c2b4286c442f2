# SPDX-License-Identifier: Apache-2.0
"""The tool as a whole: its help, its exit statuses, and the package's configurations by name."""

import subprocess
import sys
from pathlib import Path

import pytest

from rd_plugin.commands import command_line
from rd_plugin.commands.command_line import CommandLine, WrongInput
from rd_plugin.commands.help_text import SUBCOMMANDS
from rd_plugin.commands.tool import with_configurations
from rd_plugin.configurations import configuration_names

from .conftest import Tool

# What is imported by the help that lists the subcommands.
HELP = """
import sys
from rd_plugin.commands.tool import main

main(["--help"])
print("loaded:", {"anomalib", "lightning", "torch"} & sys.modules.keys() or "nothing slow")
"""


@pytest.fixture(scope="module")
def whole() -> CommandLine:
    return CommandLine(["inspect", "model.xml", "a.png"], run=False)


@pytest.fixture(scope="module")
def parsers(whole: CommandLine) -> dict:
    return whole.subcommand_parsers


def test_help_has_a_line_for_each_subcommand(tool: Tool, parsers: dict) -> None:
    status, output, _ = tool("--help")
    assert status == 0
    # The help that lists them is made without their parsers.
    assert parsers.keys() == SUBCOMMANDS.keys()
    for name in parsers:
        (line,) = [line for line in output.splitlines() if line.startswith(f"    {name} ")]
        assert len(line.split()) > 2
    assert "exit status:\n  0  done\n" in output


def test_help_that_lists_the_subcommands_has_the_options_of_the_whole_parser(tool: Tool, whole: CommandLine) -> None:
    _, output, _ = tool("--help")
    options = {option for action in whole.parser._actions for option in action.option_strings}
    assert "--traceback" in options
    assert {option for option in options if option not in output} == set()


def test_help_waits_for_nothing_slow() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True, timeout=300)
    assert "loaded: nothing slow" in done.stdout


@pytest.mark.parametrize("subcommand", sorted(SUBCOMMANDS))
def test_help_of_each_has_an_example_and_the_exit_statuses(tool: Tool, subcommand: str) -> None:
    status, output, _ = tool(subcommand, "--help")
    assert status == 0
    assert f"example:\n  rd-plugin {subcommand} " in output
    assert "exit status:" in output
    assert "--trainer.max_steps" not in output


def test_help_with_everything(tool: Tool) -> None:
    status, output, _ = tool("train", "--help_all")
    assert status == 0
    assert "--trainer.max_steps" in output


def test_examples_name_arguments_that_exist(parsers: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, (_, example) in SUBCOMMANDS.items():
        known = {option for action in parsers[name]._actions for option in action.option_strings}
        for word in example.split()[2:]:
            if word.startswith("--") and name != "convert":
                assert word in known or word == "--data.root", f"{name}: {word}"


@pytest.mark.parametrize("form", [("--config", "{}"), ("-c", "{}"), ("--config={}",)])
def test_configurations_have_names(form: tuple[str, ...]) -> None:
    assert "quickstart" in configuration_names()
    arguments = [part.format("quickstart") for part in form]
    cli = CommandLine(with_configurations(["train", *arguments]), run=False)
    assert cli.config["train"]["data"]["class_path"] == "rd_plugin.SolarCells"


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
