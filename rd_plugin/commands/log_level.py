# SPDX-License-Identifier: Apache-2.0
"""Which messages a run logs: each once, by default the package's own and warnings of other libraries."""

import logging
import sys
import warnings
from typing import Any

__all__ = ["set_log_level"]

_FORMAT = "%(levelname)s %(message)s"
# These loggers have handlers and levels of their own.
_LIGHTNING = ("lightning", "lightning.fabric", "lightning.pytorch", "lightning_fabric", "pytorch_lightning")
# These libraries warn about their own implementation, not about the user's input.
_AT_WORK = ("onnxscript", "torch.onnx", "torch.utils.cpp_extension")


def set_log_level(verbose: bool) -> None:
    """Set what is logged, and which warnings are shown.

    Args:
        verbose: Whether to show everything. Otherwise Python warnings are hidden, unless ``python -W`` or
            ``PYTHONWARNINGS`` asks for them, and so are messages of other libraries below the level of a warning.
    """
    level = logging.INFO if verbose else logging.WARNING
    for name in ("", *_LIGHTNING):
        logging.getLogger(name).setLevel(level)
        _remove_handlers(logging.getLogger(name))
        # All messages go to the root logger's handler.
        logging.getLogger(name).propagate = True
    handler = _StandardError()
    handler.setFormatter(logging.Formatter(_FORMAT))
    logging.getLogger().addHandler(handler)
    logging.getLogger("rd_plugin").setLevel(logging.INFO)
    for name in _AT_WORK:
        logging.getLogger(name).setLevel(logging.NOTSET if verbose else logging.ERROR)
    # This library sets its level when it is imported, which happens later.
    nncf = logging.getLogger("nncf")
    if verbose:
        nncf.removeFilter(_is_warning)
        return
    nncf.addFilter(_is_warning)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


class _StandardError(logging.StreamHandler):
    """Handler that writes to the current standard error, so that a progress bar stays below the messages."""

    @property
    def stream(self) -> Any:
        """The stream."""
        return sys.stderr

    @stream.setter
    def stream(self, _stream: Any) -> None:
        """Ignore the stream, and keep standard error."""


def _remove_handlers(logger: logging.Logger) -> None:
    """Remove the handlers that print; anomalib has two of them, and one wraps messages into a narrow column."""
    for handler in list(logger.handlers):
        # By its name, so that the tool's help does not import rich.
        if type(handler) in {logging.StreamHandler, _StandardError} or type(handler).__name__ == "RichHandler":
            logger.removeHandler(handler)


def _is_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING
