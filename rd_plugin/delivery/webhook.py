# SPDX-License-Identifier: Apache-2.0
"""Rows as requests to a web server."""

import os
from urllib.parse import urlsplit

from .deliverer import RefusedError

__all__ = ["Webhook"]

_TOKEN = "RD_PLUGIN_WEBHOOK_TOKEN"  # the name of an environment variable
_SECONDS = 10.0
# What a server says of the content of one row: bad request, conflict, too large, not processable. Other statuses, such
# as those of a wrong token, are about all rows, and pass when somebody mends their cause.
_REFUSALS = {400, 409, 413, 422}


class Webhook:
    """A web server that receives each row as the body of a POST request, as JSON.

    A row has been accepted when the server answers with a status of 200 to 299. The environment variable
    ``RD_PLUGIN_WEBHOOK_TOKEN`` holds a token for it, if it needs one.

    Args:
        url: Such as ``"https://example.com/rows"``.

    Raises:
        ImportError: If httpx is not installed.
        ValueError: If it is no such address.
    """

    def __init__(self, url: str) -> None:
        import httpx  # part of the extra `messages`

        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            msg = f"webhook must be an address like https://example.com/rows, got {url!r}."
            raise ValueError(msg)
        # It is logged; a user's password is not.
        self.name = f"webhook {parts._replace(netloc=parts.netloc.rpartition('@')[2]).geturl()}"
        headers = {"Content-Type": "application/json"}
        if token := os.environ.get(_TOKEN):
            headers["Authorization"] = f"Bearer {token}"
        self._url = url
        self._error = httpx.HTTPError
        self._client = httpx.Client(headers=headers, timeout=_SECONDS)

    def send(self, row: str) -> None:
        """Send a row.

        Raises:
            OSError: If the server cannot be reached, or answers with a status that may change.
            RefusedError: If it answers that the row is wrong (400, 409, 413 or 422).
        """
        try:
            answer = self._client.post(self._url, content=row)
        except self._error as error:
            msg = f"not reached ({error or type(error).__name__})"
            raise OSError(msg) from error
        if not answer.is_success:
            msg = f"answered with status {answer.status_code}"
            raise RefusedError(msg) if answer.status_code in _REFUSALS else OSError(msg)

    def close(self) -> None:
        """Disconnect."""
        self._client.close()
