# SPDX-License-Identifier: Apache-2.0
"""Bounds on the body of a request: its size, and the time that it takes to arrive."""

import asyncio
from typing import Any

from fastapi import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["BodyLimits"]

# What is left of the body is not read.
_CLOSE = {"Connection": "close"}


class BodyLimits:
    """Refuses bodies that are too large with status 413, and those that are too slow with 408.

    Args:
        app: The application.
        max_bytes: Greatest size of a body, in bytes.
        seconds: Time that a body has to arrive, from its request on.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, seconds: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._seconds
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        received = 0

        async def limited() -> Any:
            nonlocal received
            # The whole message is known to be too large before any of it is read.
            if int(declared) > self._max_bytes:
                raise self._too_large()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, deadline - loop.time()))
            except asyncio.TimeoutError as error:
                raise HTTPException(408, f"The body did not arrive within {self._seconds:g} s.", _CLOSE) from error
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise self._too_large()
            return message

        await self._app(scope, limited, send)

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"The body is larger than {self._max_bytes:,} bytes.", _CLOSE)
