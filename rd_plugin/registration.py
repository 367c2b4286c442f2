# SPDX-License-Identifier: Apache-2.0
"""Making the package's models known to anomalib.

jsonargparse, and with it ``anomalib train``, finds a class by its import path with nothing done. ``get_model`` and
``anomalib benchmark`` import only from modules on anomalib's list; this package is added there.
"""

from anomalib.models import ALLOWED_MODULES

__all__ = ["register"]


def register() -> None:
    """Allow ``get_model({"class_path": "rd_plugin.<Model>"})``; doing it twice changes nothing."""
    ALLOWED_MODULES.update({"rd_plugin", "rd_plugin.models"})
