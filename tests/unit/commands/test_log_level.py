# SPDX-License-Identifier: Apache-2.0
"""What a run lets other libraries say, and how often."""

import logging
import sys
import warnings

import pytest
from anomalib.loggers import configure_logger

from rd_plugin.commands.log_level import set_log_level

LOGGERS = ("", "rd_plugin", "anomalib", "lightning.pytorch.trainer", "lightning_fabric.utilities", "nncf", "onnxscript")


pytestmark = pytest.mark.usefixtures("log_level_as_before")


def _said(level: int) -> set[str]:
    """Which loggers let a message of that level pass."""
    message = logging.makeLogRecord({"levelno": level})
    loggers = {name: logging.getLogger(name) for name in LOGGERS}
    return {name for name, logger in loggers.items() if logger.isEnabledFor(level) and logger.filter(message)}


def test_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    logging.getLogger("nncf").setLevel(logging.INFO)
    monkeypatch.setattr(sys, "warnoptions", [])
    set_log_level(verbose=False)
    assert _said(logging.INFO) == {"rd_plugin"}
    assert _said(logging.WARNING) == set(LOGGERS) - {"onnxscript"}
    assert warnings.filters[0][:3] == ("ignore", None, Warning)


def test_warnings_of_python_that_are_asked_for_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "warnoptions", ["default"])
    before = warnings.filters[:]
    set_log_level(verbose=False)
    assert warnings.filters == before


def test_everything() -> None:
    before = warnings.filters[:]
    set_log_level(verbose=True)
    assert _said(logging.INFO) == set(LOGGERS)
    assert warnings.filters == before


def test_each_message_once(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """anomalib's program gives the root a handler of Python's and one of rich's."""
    root, lightning = logging.getLogger(), logging.getLogger("lightning.pytorch")
    for logger in (root, lightning):
        monkeypatch.setattr(logger, "handlers", [])
    configure_logger()
    set_log_level(verbose=False)
    logging.getLogger("rd_plugin.any").info("It is %s.", "long " * 40)
    told = [line for line in capfd.readouterr().err.splitlines() if line]
    assert told == [f"INFO It is {'long ' * 40}."]
    assert not lightning.handlers
