# SPDX-License-Identifier: Apache-2.0
"""Something that is wrong, or worth knowing, about data."""

from dataclasses import dataclass
from typing import Literal

from rd_plugin.storage import printable

__all__ = ["Problem"]


@dataclass(frozen=True)
class Problem:
    """Something that is wrong, or worth knowing, about a file or a set.

    Args:
        subject: The file, or the name of the set.
        message: What was found and what is needed instead.
        severity: ``"error"`` would spoil the result, ``"note"`` does not.
    """

    subject: str
    message: str
    severity: Literal["error", "note"] = "error"

    def __str__(self) -> str:
        return printable(f"{self.subject}: {self.message}")
