# SPDX-License-Identifier: Apache-2.0
"""File names as single lines of text."""

__all__ = ["printable"]


def printable(text: object) -> str:
    r"""Return text on one line, with escape sequences for control characters and bytes that are not text.

    A file name may hold a line break, and so something that looks like another line of the output.

    Args:
        text: A path, or a message that holds one.

    Example:
        >>> print(printable("a.png: normal\nb.png"), printable("größe 1.png"))
        a.png: normal\nb.png größe 1.png
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
