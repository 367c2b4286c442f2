# SPDX-License-Identifier: Apache-2.0
"""Bounds on the bodies of requests: their size, the time that each takes to arrive, and the memory of all."""

import asyncio
from typing import Any

from fastapi import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["BodyLimits"]

# What is left of the body is not read.
_CLOSE = {"Connection": "close"}
# Bodies of the maximum size that are in memory at a time.
_BODIES = 32


class BodyLimits:
    """Refuses bodies that are too large with status 413, those that are too slow with 408, and too many with 503.

    Args:
        app: The application.
        max_bytes: Maximum size of a body, in bytes.
        seconds: Time that a body has to arrive, from its request on.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, seconds: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._held = 0

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
            received += (size := len(message.get("body", b"")))
            self._held += size
            if received > self._max_bytes:
                raise self._too_large()
            if self._held > _BODIES * self._max_bytes:
                raise HTTPException(503, "Too many large bodies are waiting.", {**_CLOSE, "Retry-After": "1"})
            return message

        try:
            await self._app(scope, limited, send)
        finally:
            self._held -= received

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"The body is larger than {self._max_bytes:,} bytes.", _CLOSE)
