# SPDX-License-Identifier: Apache-2.0
"""What a run says: each message once, by default the package's own, and of other libraries warnings alone."""

import logging
import sys
import warnings

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
    logging.basicConfig(format=_FORMAT)
    for name in ("", *_LIGHTNING):
        logging.getLogger(name).setLevel(level)
        _keep_one_handler(logging.getLogger(name))
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


def _keep_one_handler(logger: logging.Logger) -> None:
    """Undo what anomalib's program does: a second handler, which wraps each message into a narrow column."""
    for handler in list(logger.handlers):
        # By its name, since rich need not be imported for the tool's help.
        if type(handler).__name__ == "RichHandler":
            logger.removeHandler(handler)
        elif type(handler) is logging.StreamHandler:
            handler.setFormatter(logging.Formatter(_FORMAT))


def _is_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING
