# SPDX-License-Identifier: Apache-2.0
"""Rows as requests to a web server."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from rd_plugin.delivery import Webhook
from rd_plugin.delivery.deliverer import RefusedError


class Receiver(BaseHTTPRequestHandler):
    """Keeps what it receives, and answers with the status that is due."""

    status = 200
    received: list[tuple[str, str | None, str | None, str]]

    def do_POST(self) -> None:  # http.server's name
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.received.append((self.path, self.headers["Content-Type"], self.headers["Authorization"], body))
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def receiver() -> Iterator[tuple[type[Receiver], str]]:
    kind = type("Own", (Receiver,), {"received": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield kind, f"http://127.0.0.1:{server.server_port}/rows?line=1"
        server.shutdown()


def test_each_row_is_a_request(receiver: tuple[type[Receiver], str], monkeypatch: pytest.MonkeyPatch) -> None:
    kind, url = receiver
    monkeypatch.setenv("RD_PLUGIN_WEBHOOK_TOKEN", "0123456789abcdef")
    target = Webhook(url)
    assert target.name == f"webhook {url}"
    for row in ('{"path": "a"}', '{"path": "b"}'):
        target.send(row)
    target.close()
    head = ("/rows?line=1", "application/json", "Bearer 0123456789abcdef")
    assert kind.received == [(*head, '{"path": "a"}'), (*head, '{"path": "b"}')]


@pytest.mark.parametrize(
    ("status", "error"),
    [*((status, OSError) for status in (301, 401, 404, 429, 500, 503)), (400, RefusedError), (422, RefusedError)],
)
def test_other_answers_are_refusals(receiver: tuple[type[Receiver], str], status: int, error: type[Exception]) -> None:
    kind, url = receiver
    kind.status = status
    target = Webhook(url)
    with pytest.raises(error, match=f"answered with status {status}"):
        target.send("{}")
    kind.status = 204
    target.send("{}")
    target.close()
    assert kind.received[0][2] is None


def test_password_is_not_part_of_the_name() -> None:
    assert (
        Webhook("https://me:secret@example.com:8443/rows?line=1").name == "webhook https://example.com:8443/rows?line=1"
    )


def test_server_that_is_not_there() -> None:
    target = Webhook("http://127.0.0.1:9/rows")
    with pytest.raises(OSError, match="not reached"):
        target.send("{}")
    target.close()


@pytest.mark.parametrize("url", ["", "example.com/rows", "ftp://example.com", "http://", "file:///etc/passwd"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError, match="webhook must be an address like"):
        Webhook(url)
