# SPDX-License-Identifier: Apache-2.0
"""Names of files for people and programs that read line by line."""

__all__ = ["printable"]


def printable(text: object) -> str:
    r"""Return text on one line, with characters that steer a terminal or are no text as escape sequences.

    A file's name may hold a line break, and with it what looks like another line of the output.

    Args:
        text: A path, or a message that holds one.

    Example:
        >>> print(printable("a.png: normal\nb.png"), printable("größe 1.png"))
        a.png: normal\nb.png größe 1.png
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
