# SPDX-License-Identifier: Apache-2.0
"""Tokens of clients: who may send a request."""

import hmac
from collections.abc import Mapping
from pathlib import Path

__all__ = ["client_of", "read_tokens"]

# 16 characters that a program has chosen cannot be guessed.
_SHORTEST = 16


def read_tokens(path: Path) -> dict[str, str]:
    r"""Read a file of tokens: on each line a client's name and its token; ``#`` begins a comment.

    Args:
        path: The file.

    Returns:
        Tokens by client.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If a line is something else, a client appears twice, a token is too short, or there is no client.

    Example:
        >>> file = getfixture("tmp_path") / "tokens"
        >>> _ = file.write_text("# line 1\nrobot 0123456789abcdef\n")
        >>> read_tokens(file)
        {'robot': '0123456789abcdef'}
    """
    tokens: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or words[0] in tokens or len(words[1]) < _SHORTEST or not words[1].isascii():
            msg = (
                f"tokens {str(path)!r}, line {number}: must be the name of another client and a token of at least "
                f"{_SHORTEST} ASCII characters."
            )
            raise ValueError(msg)
        tokens[words[0]] = words[1]
    if not tokens:
        msg = f"tokens {str(path)!r} contains no client."
        raise ValueError(msg)
    return tokens


def client_of(authorization: str | None, tokens: Mapping[str, str]) -> str | None:
    """Return the client whose token a request has; ``None`` if it has no client's.

    The time that it takes does not depend on how much of a token is right, or whose it is.

    Args:
        authorization: The header ``Authorization``: ``Bearer`` and the token.
        tokens: Tokens by client.

    Example:
        >>> client_of("Bearer 0123456789abcdef", {"robot": "0123456789abcdef"})
        'robot'
    """
    kind, _, given = (authorization or "").partition(" ")
    found = [client for client, token in tokens.items() if hmac.compare_digest(token.encode(), given.strip().encode())]
    return found[0] if found and kind.lower() == "bearer" else None
