# SPDX-License-Identifier: Apache-2.0
"""The arguments that the quick help names exist, with the defaults that it states."""

import inspect
import re

import pytest
from anomalib.data import AnomalibDataModule

from rd_plugin import PartsFolder
from rd_plugin.commands.command_line import CommandLine
from rd_plugin.commands.each import EACH, ENGINE, RESUME, THREADS
from rd_plugin.commands.first_arguments import FIRST_ARGUMENTS
from rd_plugin.models.distillation import Distillation
from rd_plugin.post_processor import DistillationPostProcessor

# Of these the parser knows the arguments only when the class is given.
CLASSES = {
    "--model.post_processor.": DistillationPostProcessor,
    "--model.": Distillation,
    "--data.": PartsFolder,
}


@pytest.fixture(scope="module")
def parsers() -> dict:
    return CommandLine(["install"], run=False).subcommand_parsers


@pytest.mark.parametrize("subcommand", FIRST_ARGUMENTS)
def test_arguments_exist_and_have_the_stated_defaults(parsers: dict, subcommand: str) -> None:
    known = {
        option: action for action in parsers[subcommand]._actions for option in (*action.option_strings, action.dest)
    }
    for _, arguments in FIRST_ARGUMENTS[subcommand]:
        for name, _, text in arguments:
            stated = re.search(r"\(default: (.+)\)$", text)
            prefix = next((prefix for prefix in CLASSES if name.startswith(prefix)), None)
            if prefix is None:
                # The parser never sees the last four.
                assert name in {*known, EACH, ENGINE, RESUME, THREADS}, name
                continue
            default = inspect.signature(CLASSES[prefix]).parameters[name.removeprefix(prefix)].default
            if stated and default is not None:
                assert stated[1].lower() == str(default).lower(), name


def test_every_subcommand_that_needs_anomalib_has_them() -> None:
    own = {name for name, groups in FIRST_ARGUMENTS.items() if groups}
    assert {"train", "fit", "validate", "test", "predict", "export", "check"} <= own
    assert issubclass(PartsFolder, AnomalibDataModule)
