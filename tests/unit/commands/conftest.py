# SPDX-License-Identifier: Apache-2.0
"""The tool in this process."""

import logging
import warnings
from collections.abc import Callable, Iterator
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
def log_level_as_before() -> Iterator[None]:
    """Leave logging and warnings as they were."""
    loggers = [logging.getLogger(), *map(logging.getLogger, list(logging.root.manager.loggerDict))]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
    for name in ("nncf", "onnxscript", "torch.onnx", "torch.utils.cpp_extension"):
        logging.getLogger(name).filters.clear()
        if logging.getLogger(name) not in loggers:
            logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.fixture
def tool(capfd: pytest.CaptureFixture[str], log_level_as_before: None) -> Tool:
    """Run the tool with arguments."""
    del log_level_as_before

    def run(*arguments: object) -> Ended:
        status = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stop:
            status = int(stop.code or 0)
        return Ended(status, *capfd.readouterr())

    return run
