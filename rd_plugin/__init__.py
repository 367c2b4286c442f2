# SPDX-License-Identifier: Apache-2.0
"""Reverse distillation for anomalib: RD4AD (CVPR 2022) and RD with Expert (AAAI 2025) as anomalib models.

``rd_plugin.interface`` lists the public names. They are loaded when the first one is used (PEP 562), so that importing
the package takes no time.
"""

import importlib
import warnings
from typing import TYPE_CHECKING, Any

from wrapt import when_imported

from rd_plugin.registration import keep_folder_named_latest, prepare_command_line, register

if TYPE_CHECKING:
    from rd_plugin.interface import *  # noqa: F403

when_imported("anomalib.models")(register)
when_imported("anomalib.cli.cli")(prepare_command_line)
when_imported("anomalib.engine.engine")(keep_folder_named_latest)


def __getattr__(name: str) -> Any:
    """Load the public names and ``__all__``."""
    if not name.startswith("_") or name == "__all__":
        with warnings.catch_warnings():
            # anomalib and timm warn about their own imports.
            warnings.simplefilter("ignore", FutureWarning)
            interface = importlib.import_module("rd_plugin.interface")
        globals().update({public: getattr(interface, public) for public in ("__all__", *interface.__all__)})
        if name in globals():
            return globals()[name]
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__getattr__("__all__")})
