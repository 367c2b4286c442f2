# SPDX-License-Identifier: Apache-2.0
"""The tool in this process."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from rd_plugin.commands.tool import main


class Ended(NamedTuple):
    """How a command ended: its exit status, standard output and standard error."""

    status: int
    output: str
    errors: str


Tool = Callable[..., Ended]


@pytest.fixture
def tool(capfd: pytest.CaptureFixture[str]) -> Tool:
    """Run the tool with arguments."""

    def run(*arguments: object) -> Ended:
        status = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stop:
            status = int(stop.code or 0)
        return Ended(status, *capfd.readouterr())

    return run
