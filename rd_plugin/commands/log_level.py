# SPDX-License-Identifier: Apache-2.0
"""What a run says: each message once, by default the package's own, and of other libraries warnings alone."""

import logging
import sys
import warnings
from typing import Any

__all__ = ["set_log_level"]

_FORMAT = "%(levelname)s %(message)s"
# They have handlers and levels of their own.
_LIGHTNING = ("lightning", "lightning.fabric", "lightning.pytorch", "lightning_fabric", "pytorch_lightning")
# What these warn of is how they work, not what was given to them.
_AT_WORK = ("onnxscript", "torch.onnx", "torch.utils.cpp_extension")


def set_log_level(verbose: bool) -> None:
    """Set what is logged, and which warnings are shown.

    Args:
        verbose: Whether to show everything. Otherwise warnings of Python's are hidden, unless ``python -W`` or
            ``PYTHONWARNINGS`` asks for them, and messages of other libraries that are no warnings.
    """
    level = logging.INFO if verbose else logging.WARNING
    for name in ("", *_LIGHTNING):
        logging.getLogger(name).setLevel(level)
        _remove_handlers(logging.getLogger(name))
        # All go to the root's.
        logging.getLogger(name).propagate = True
    handler = _StandardError()
    handler.setFormatter(logging.Formatter(_FORMAT))
    logging.getLogger().addHandler(handler)
    logging.getLogger("rd_plugin").setLevel(logging.INFO)
    for name in _AT_WORK:
        logging.getLogger(name).setLevel(logging.NOTSET if verbose else logging.ERROR)
    # It sets its level when it is imported, which comes later.
    nncf = logging.getLogger("nncf")
    if verbose:
        nncf.removeFilter(_is_warning)
        return
    nncf.addFilter(_is_warning)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


class _StandardError(logging.StreamHandler):
    """Writes to standard error as it is now: a progress bar that is shown takes its place, and stays below."""

    @property
    def stream(self) -> Any:
        """The stream."""
        return sys.stderr

    @stream.setter
    def stream(self, _stream: Any) -> None:
        """Keep to standard error."""


def _remove_handlers(logger: logging.Logger) -> None:
    """Remove what prints; anomalib's program has two handlers that do, and one wraps messages into a narrow column."""
    for handler in list(logger.handlers):
        # By its name, since rich need not be imported for the tool's help.
        if type(handler) in {logging.StreamHandler, _StandardError} or type(handler).__name__ == "RichHandler":
            logger.removeHandler(handler)


def _is_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING
