# SPDX-License-Identifier: Apache-2.0
"""Bounds on the body of a request, without a server."""

import asyncio
from collections.abc import Iterator

import pytest
from fastapi import HTTPException
from starlette.types import Message, Receive, Scope, Send

from rd_plugin.serving.limits import BodyLimits


async def _wait(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that keeps its body for a while."""
    await _read(scope, receive, send)
    await asyncio.sleep(scope["seconds"])


async def _read(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that reads the whole body."""
    del scope, send
    while (await receive()).get("more_body"):
        pass


def _status(parts: list[bytes], declared: str | None = None, pause: float = 0.0) -> int:
    """The status that a body of these parts is refused with, or 200."""
    messages: Iterator[Message] = iter(
        [{"type": "http.request", "body": part, "more_body": True} for part in parts] + [{"type": "http.request"}]
    )

    async def receive() -> Message:
        await asyncio.sleep(pause)
        return next(messages)

    async def run() -> None:
        headers = [] if declared is None else [(b"content-length", declared.encode())]
        scope = {"type": "http", "headers": headers}
        await BodyLimits(_read, max_bytes=10, seconds=0.2)(scope, receive, None)  # type: ignore[arg-type]

    try:
        asyncio.run(run())
    except HTTPException as error:
        # What is left of the body is not read.
        return error.status_code if error.headers == {"Connection": "close"} else 0
    return 200


@pytest.mark.parametrize(
    ("parts", "declared", "status"),
    [
        ([b"x" * 10], "10", 200),
        ([b"x"] * 10, None, 200),
        ([b"x"] * 11, None, 413),
        ([b"x"], "11", 413),
        # It declares less than it sends.
        ([b"x" * 11], "3", 413),
    ],
)
def test_size(parts: list[bytes], declared: str | None, status: int) -> None:
    assert _status(parts, declared) == status


def test_time() -> None:
    """Each part is in time, all of them are not."""
    assert _status([b"x"] * 9, pause=0.1) == 408
    assert _status([b"x"], pause=60) == 408


def test_other_messages_pass() -> None:
    passed = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del receive, send
        passed.append(scope["type"])

    asyncio.run(BodyLimits(app, 1, 1)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert passed == ["lifespan"]


def test_memory_of_all_bodies_is_bounded() -> None:
    """The 33rd body of the greatest size finds no place; later ones do."""
    waiting = BodyLimits(_wait, max_bytes=10, seconds=60)

    async def send(count: int) -> list[int]:
        async def one() -> int:
            body = iter([{"type": "http.request", "body": b"x" * 10}])

            async def receive() -> Message:
                return next(body)

            try:
                await waiting({"type": "http", "headers": [], "seconds": 0.1}, receive, None)  # type: ignore[arg-type]
            except HTTPException as error:
                return error.status_code if (error.headers or {}).get("Retry-After") == "1" else 0
            return 200

        return await asyncio.gather(*(one() for _ in range(count)))

    assert asyncio.run(send(33)) == [200] * 32 + [503]
    assert asyncio.run(send(32)) == [200] * 32
