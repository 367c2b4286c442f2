# SPDX-License-Identifier: Apache-2.0
"""What the tool's help says."""

from importlib import import_module
from pathlib import Path

import pytest

from rd_plugin.commands.command_line import CommandLine
from rd_plugin.commands.help_text import SUBCOMMANDS, new_parser
from rd_plugin.commands.without_anomalib import WITHOUT_ANOMALIB

from .conftest import Tool


@pytest.fixture(scope="module")
def whole() -> CommandLine:
    return CommandLine(["install"], run=False)


@pytest.fixture(scope="module")
def parsers(whole: CommandLine) -> dict:
    parsers = whole.subcommand_parsers
    for name in WITHOUT_ANOMALIB:
        parsers[name] = new_parser()
        import_module(f"rd_plugin.commands.{name}").add_arguments(parsers[name])
    return parsers


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


@pytest.mark.parametrize("subcommand", sorted(SUBCOMMANDS))
def test_help_of_each_has_an_example_and_the_exit_statuses(tool: Tool, subcommand: str) -> None:
    status, output, _ = tool(subcommand, "--help")
    assert status == 0
    assert f"example:\n  rd-plugin {subcommand} " in output
    assert "exit status:" in output
    assert "--trainer.barebones" not in output


def test_help_with_everything(tool: Tool) -> None:
    status, output, _ = tool("train", "--help_all")
    assert status == 0
    assert "--trainer.barebones" in output


def test_examples_name_arguments_that_exist(parsers: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, (_, example) in SUBCOMMANDS.items():
        known = {option for action in parsers[name]._actions for option in action.option_strings}
        for word in example.split()[2:]:
            if word.startswith("--") and name != "convert":
                assert word in known or word == "--data.root", f"{name}: {word}"


def test_training_shows_what_is_set_first(tool: Tool) -> None:
    status, output, _ = tool("train", "--help")
    assert status == 0
    for name in ("--model.backbone", "--model.image_size", "--trainer.max_steps", "--data.root"):
        assert f"  {name} " in output
    assert "Padim" not in output


def test_help_of_a_class_lists_no_other_classes(tool: Tool) -> None:
    status, output, _ = tool("train", "--data.help", "PartsFolder")
    assert status == 0
    assert "--data.val_split_ratio" in output
    assert "--data.augmentations AUGMENTATIONS" in output
    assert "RandomErasing" not in output
    assert "--data.augmentations.help" not in output
