# SPDX-License-Identifier: Apache-2.0
"""Run the application with uvicorn until a signal arrives."""

import asyncio
import logging
import signal
import socket
from ipaddress import ip_address
from threading import current_thread, main_thread
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from .app import LOOPBACK

__all__ = ["check_host", "serve"]

logger = logging.getLogger(__name__)

# Time that the head of a request has to arrive, in seconds.
_HEAD_SECONDS = 10.0
# Time that a connection is kept without a request, in seconds: longer than a line pauses between two parts, since a
# request that is sent while its connection is being closed is lost.
_KEEP_SECONDS = 75
# Connections at a time; each holds at most one body.
_CONNECTIONS = 512


class _Protocol(H11Protocol):
    """uvicorn's protocol, which closes connections on which a request does not arrive."""

    head_seconds = _HEAD_SECONDS
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Receive a part of a request."""
        super().data_received(data)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        super().connection_lost(exc)
        self._stop_waiting()

    def _wait(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.head_seconds, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def check_host(host: str, has_tokens: bool) -> None:
    """Check that only this computer can send requests if clients need no tokens.

    Args:
        host: Address that is listened on.
        has_tokens: Whether clients need tokens.

    Raises:
        ValueError: If others can.
    """
    try:
        local = host in LOOPBACK or ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local and not has_tokens:
        msg = f"host must be 127.0.0.1, ::1 or localhost unless clients need tokens, got {host!r}; give --tokens FILE."
        raise ValueError(msg)


def serve(app: FastAPI, host: str, port: int, body_seconds: float) -> None:
    """Serve an application until SIGTERM or SIGINT; requests in progress are finished.

    Args:
        app: The application.
        host: Address to listen on.
        port: Port; 0 for any that is free.
        body_seconds: Time that a body has to arrive.

    Raises:
        OSError: If the port cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except OSError as error:
            msg = f"port {port} of {host!r} cannot be listened on: {error.strerror}."
            raise OSError(msg) from error
        config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            timeout_keep_alive=_KEEP_SECONDS,
            # A body may still arrive, and be inspected.
            timeout_graceful_shutdown=round(body_seconds) + 30,
        )
        address = f"[{host}]" if ":" in host else host
        logger.info("Serving at http://%s:%s until SIGTERM or Ctrl-C.", address, listening.getsockname()[1])
        server = uvicorn.Server(config)

        def stop(*_: object) -> None:
            server.should_exit = True

        # uvicorn raises the signal again when all is done, and would end as if it had been killed.
        here = current_thread() is main_thread()
        numbers = (signal.SIGINT, signal.SIGTERM) if here else ()
        before: dict[int, Any] = {number: signal.signal(number, stop) for number in numbers}
        try:
            server.run([listening])
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
