# SPDX-License-Identifier: Apache-2.0
"""What the tool lets other libraries say."""

import logging
import sys
import warnings

import pytest

from rd_plugin.commands.loudness import set_loudness

LOGGERS = ("", "rd_plugin", "anomalib", "lightning.pytorch.trainer", "lightning_fabric.utilities", "nncf", "onnxscript")


pytestmark = pytest.mark.usefixtures("loudness_as_before")


def _said(level: int) -> set[str]:
    """Which loggers let a message of that level pass."""
    message = logging.makeLogRecord({"levelno": level})
    loggers = {name: logging.getLogger(name) for name in LOGGERS}
    return {name for name, logger in loggers.items() if logger.isEnabledFor(level) and logger.filter(message)}


def test_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    logging.getLogger("nncf").setLevel(logging.INFO)
    monkeypatch.setattr(sys, "warnoptions", [])
    set_loudness(verbose=False)
    assert _said(logging.INFO) == {"rd_plugin"}
    assert _said(logging.WARNING) == set(LOGGERS) - {"onnxscript"}
    assert warnings.filters[0][:3] == ("ignore", None, Warning)


def test_warnings_of_python_that_are_asked_for_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "warnoptions", ["default"])
    before = warnings.filters[:]
    set_loudness(verbose=False)
    assert warnings.filters == before


def test_everything() -> None:
    before = warnings.filters[:]
    set_loudness(verbose=True)
    assert _said(logging.INFO) == set(LOGGERS)
    assert warnings.filters == before
