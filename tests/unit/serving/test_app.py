# SPDX-License-Identifier: Apache-2.0
"""The addresses of the server."""

import base64
import json
import math
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime
from io import BytesIO
from pathlib import Path
from threading import Semaphore

import pytest
from PIL import Image
from starlette.testclient import TestClient

from rd_plugin.inspection import Inspector, Source
from rd_plugin.products import Store
from rd_plugin.results import InspectionResult
from rd_plugin.serving import Settings

from ...waiting import wait_until
from .conftest import png

Serving = Callable[..., TestClient]
TOKEN = "0123456789abcdef"


def test_answer_is_the_row_of_inspect(serving: Serving, products: Store, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(204))
    inspector = Inspector(products.model(products.get("gasket")), product="gasket")
    row = json.loads(inspector.inspect_one(Source("a.png", content=png(204))).json())
    client = serving()
    for answer in (
        client.post("/inspect?product=gasket&path=a.png", content=png(204)),
        client.post("/inspect?path=a.png", content=png(204)),
        client.post("/inspect?product=gasket", files={"file": ("a.png", png(204), "image/png")}),
    ):
        assert answer.status_code == 200
        own = {"milliseconds": None, "time": None}
        assert {**answer.json(), **own} == {**row, **own}
    assert (row["verdict"], row["product"], row["score"]) == ("anomalous", "gasket", 0.8)


def test_part_is_given_or_found_in_the_name(serving: Serving) -> None:
    client = serving(load=lambda model, product: Inspector(model, product=product, part_id=r"SN\d+"))
    for query, part in (("path=a_SN12.png", "SN12"), ("path=a_SN12.png&part_id=7", "7"), ("path=a.png", "")):
        row = client.post(f"/inspect?{query}", content=png(9)).json()
        assert row["part_id"] == part
        assert datetime.fromisoformat(row["time"]).tzinfo is not None


def test_overlay_is_drawn_if_asked_for(serving: Serving) -> None:
    answer = serving().post("/inspect?overlay=true", content=png(204)).json()
    kind, _, content = answer["overlay"].partition(",")
    assert kind == "data:image/jpeg;base64"
    picture = Image.open(BytesIO(base64.b64decode(content)))
    # The bar with the verdict is above the image.
    assert (picture.width, picture.height > 4) == (4, True)


@pytest.mark.parametrize("content", [b"", b"no image", png(204)[:-30], png(204, 8), b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_images_that_cannot_be_inspected_have_a_row_and_a_status(serving: Serving, content: bytes) -> None:
    answer = serving().post("/inspect?path=a.png&overlay=1", content=content)
    assert answer.status_code == 422
    row = answer.json()
    assert (row["path"], row["verdict"], row["score"]) == ("a.png", "error", None)
    assert row["reason"]
    assert "overlay" not in row


def _huge_png(pixels: int) -> bytes:
    """A small file whose head, with its right checksum, announces a square of that many pixels, all black."""
    side = math.isqrt(pixels)

    def chunk(name: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")

    head = side.to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_huge_png(65535**2), "the image is too large to be read"),
        (_huge_png(101**2), "the image is too large to be read (101 x 101 pixels, max_pixels is 10,000)"),
        # Less than it announces: all of its lines but one are missing.
        (_huge_png(100**2), "the image is damaged"),
    ],
)
def test_image_that_lies_about_its_size_is_not_decoded(serving: Serving, content: bytes, reason: str) -> None:
    client = serving(load=lambda model, product: Inspector(model, product=product, max_pixels=10_000))
    answer = client.post("/inspect", content=content)
    assert answer.status_code == 422
    assert reason in answer.json()["reason"]


def test_wrong_requests(serving: Serving) -> None:
    client = serving(Settings(max_bytes=2000))
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    for answer, status, detail in (
        (client.post("/inspect?product=seal", content=png(9)), 404, "(gasket), got 'seal'"),
        (client.post("/inspect?product=../gasket", content=png(9)), 404, "product must be one of"),
        (client.post("/inspect", content=b"x" * 2001), 413, "larger than 2,000 bytes"),
        (client.post("/inspect", content=iter([b"x" * 1500] * 2)), 413, "larger than 2,000 bytes"),
        (client.post("/inspect", content=b"--x\r\nbroken", headers=form), 400, ""),
        (client.post("/inspect", content=b"--x--\r\n", headers=form), 400, "one file, named 'file'"),
        (client.post("/inspect", files={"image": ("a.png", png(9))}), 400, "one file, named 'file'"),
        (client.post("/inspect", files=[("file", ("a.png", b"")), ("file", ("b.png", b""))]), 400, "Too many files"),
        (client.post(f"/inspect?path={'x' * 501}", content=png(9)), 422, "path"),
        (client.get("/inspect"), 405, "Method Not Allowed"),
        (client.get("/../../etc/passwd"), 404, "Not Found"),
    ):
        assert answer.status_code == status
        assert detail in answer.text
    assert client.post("/inspect", content=png(9)).status_code == 200
    numbers = client.get("/metrics").text
    assert 'rd_plugin_refused_requests_total{status="413"} 2.0' in numbers
    assert 'rd_plugin_images_total{client="local",product="gasket",verdict="normal"} 1.0' in numbers


def test_clients_need_their_token(serving: Serving) -> None:
    client = serving(Settings(tokens={"robot": TOKEN, "other": "f" * 16}))
    for address in ("/products", "/metrics"):
        assert client.get(address).status_code == 401
        assert client.get(address, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    for header in ("", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}", "Bearer ü".encode().decode("latin-1")):
        answer = client.post("/inspect", content=png(9), headers={"Authorization": header.encode("latin-1")})
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    answer = client.post("/inspect", content=png(9), headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    # What says nothing of parts or products is open.
    assert [client.get(address).status_code for address in ("/health", "/ready", "/")] == [200, 200, 200]
    numbers = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text
    assert 'client="robot"' in numbers


def test_pages_of_other_sites_may_not_send_requests(serving: Serving) -> None:
    client = serving()
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"}):
        assert client.post("/inspect", content=png(9), headers=headers).status_code == 403
        assert client.get("/products", headers=headers).status_code == 403
    for headers in ({"Origin": "http://127.0.0.1:8000"}, {"Host": "localhost"}, {"Host": "[::1]:8000"}):
        assert client.post("/inspect", content=png(9), headers=headers).status_code == 200


class Slow(Inspector):
    """Inspects an image when it is allowed to."""

    allowed = Semaphore(0)
    begun = Semaphore(0)

    def inspect_one(self, source: Source) -> InspectionResult:
        self.begun.release()
        assert self.allowed.acquire(timeout=60)
        return super().inspect_one(source)


def test_full_queue_says_when_to_come_again(serving: Serving) -> None:
    Slow.allowed, Slow.begun = Semaphore(0), Semaphore(0)
    client = serving(Settings(queue=3), lambda model, product: Slow(model, product=product, workers=1))
    with ThreadPoolExecutor(4) as clients:
        answers = [clients.submit(client.post, "/inspect", content=png(9)) for _ in range(4)]
        refused = next(as_completed(answers, timeout=60))
        answers.remove(refused)
        assert (refused.result().status_code, refused.result().headers["retry-after"]) == (503, "1")
        assert "Too many images are waiting" in refused.result().text
        Slow.allowed.release(10)
        assert [answer.result().status_code for answer in answers] == [200, 200, 200]
    assert client.post("/inspect", content=png(9)).status_code == 200


def test_replaced_model_loses_no_request(serving: Serving, products: Store, save: Callable[..., Path]) -> None:
    """Images that wait for the old model are inspected by it; later ones by the new one, which takes any size."""
    Slow.allowed, Slow.begun = Semaphore(0), Semaphore(0)
    slow = {"yes": Slow}
    client = serving(load=lambda model, product: slow.pop("yes", Inspector)(model, product=product))
    with ThreadPoolExecutor(2) as clients:
        waiting = [clients.submit(client.post, "/inspect", content=png(9)) for _ in range(2)]
        assert Slow.begun.acquire(timeout=60)
        products.add("gasket", save("other"), replace=True)
        wait_until(lambda: client.get("/products").json()[0]["file"] == "other.xml")
        assert client.post("/inspect", content=png(9)).status_code == 200
        Slow.allowed.release(10)
        assert [answer.result().status_code for answer in waiting] == [200, 200]


def test_products_come_and_go(serving: Serving, products: Store, save: Callable[..., Path]) -> None:
    client = serving()
    products.add("seal", save())
    wait_until(lambda: len(client.get("/products").json()) == 2)
    assert [row["product"] for row in client.get("/products").json()] == ["gasket", "seal"]
    assert client.post("/inspect?product=seal", content=png(9)).json()["product"] == "seal"
    # Which one is meant is not guessed.
    assert client.post("/inspect", content=png(9)).status_code == 404
    products.remove("seal")
    wait_until(lambda: len(client.get("/products").json()) == 1)
    assert client.post("/inspect?product=seal", content=png(9)).status_code == 404


def test_model_that_cannot_be_loaded_leaves_the_earlier_one(
    serving: Serving, products: Store, save: Callable[..., Path]
) -> None:
    def load(model: Path, product: str) -> Inspector:
        if model.name == "other.xml":
            msg = "no such operation"
            raise RuntimeError(msg)
        return Inspector(model, product=product)

    client = serving(load=load)
    products.add("gasket", save("other"), replace=True)
    wait_until(lambda: client.get("/products").json()[0]["error"])
    (row,) = client.get("/products").json()
    assert (row["file"], row["error"]) == ("model.xml", "no such operation")
    assert client.post("/inspect", content=png(9)).status_code == 200
    products.add("gasket", save("third"), replace=True)
    wait_until(lambda: client.get("/products").json()[0]["file"] == "third.xml")
    assert client.get("/products").json()[0]["error"] == ""


def test_results_are_kept_before_they_are_answered(serving: Serving) -> None:
    class Kept:
        rows: list[InspectionResult] = []  # noqa: RUF012

        def write(self, result: InspectionResult) -> None:
            self.rows.append(result)

        def close(self) -> None: ...

    client = serving(sinks=(Kept(),))
    client.post("/inspect?path=a.png", content=png(9))
    client.post("/inspect?path=b.png", content=b"")
    assert [(row.path, row.verdict, row.picture) for row in Kept.rows] == [
        ("a.png", "normal", None),
        ("b.png", "error", None),
    ]


def test_no_model_is_not_ready(tmp_path: Path) -> None:
    from rd_plugin.serving import make_app

    with TestClient(make_app(Store(tmp_path), Inspector, Settings()), base_url="http://localhost") as client:
        assert client.get("/health").status_code == 200
        answer = client.get("/ready")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert client.post("/inspect?product=gasket", content=png(9)).status_code in {404, 503}


def test_page_needs_nothing_from_elsewhere(serving: Serving) -> None:
    answer = serving().get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "://" not in answer.text
    assert "Drop pictures here" in answer.text
