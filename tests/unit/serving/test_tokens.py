# SPDX-License-Identifier: Apache-2.0
"""Tokens of clients."""

from pathlib import Path

import pytest

from rd_plugin.serving import read_tokens
from rd_plugin.serving.tokens import client_of

TOKENS = {"robot": "0123456789abcdef", "page": "fedcba9876543210"}


@pytest.mark.parametrize(
    ("header", "client"),
    [
        ("Bearer 0123456789abcdef", "robot"),
        ("bearer  fedcba9876543210 ", "page"),
        ("Bearer 0123456789abcdeF", None),
        ("Bearer 0123456789abcde", None),
        ("Bearer 0123456789abcdef0", None),
        ("Bearer", None),
        ("Bearer ü", None),
        ("Basic 0123456789abcdef", None),
        ("", None),
        (None, None),
    ],
)
def test_client_of_a_token(header: str | None, client: str | None) -> None:
    assert client_of(header, TOKENS) == client


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    monkeypatch.setattr("hmac.compare_digest", lambda *given: compared.append(given) or given[0] == given[1])
    assert client_of("Bearer 0123456789abcdef", TOKENS) == "robot"
    # With all of them, also after the right one.
    assert len(compared) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "contains no client"),
        ("# none\n\n", "contains no client"),
        ("robot\n", "line 1: must be the name of another client and a token of at least 16"),
        ("robot short\n", "line 1"),
        ("# a\nrobot 0123456789abcdef extra\n", "line 2"),
        ("robot 0123456789abcdef\nrobot fedcba9876543210\n", "line 2"),
        ("robot ü123456789abcdef\n", "line 1"),
    ],
)
def test_what_is_no_file_of_tokens(text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(text)
    with pytest.raises(ValueError, match=expected):
        read_tokens(tmp_path / "tokens")
