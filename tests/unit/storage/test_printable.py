# SPDX-License-Identifier: Apache-2.0
"""Text that can be printed on one line."""

import pytest

from rd_plugin.storage import printable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("größe 1.png", "größe 1.png"),
        ("a.png: normal\nb.png", "a.png: normal\\nb.png"),
        ("\x1b[2K\u202e\udcff", "\\x1b[2K\\u202e\\udcff"),
        (OSError("a\tb"), "a\\tb"),
    ],
)
def test_what_steers_a_terminal_is_escaped(text: object, expected: str) -> None:
    assert printable(text) == expected
