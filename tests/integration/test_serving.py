# SPDX-License-Identifier: Apache-2.0
"""The server as it is started at the command line, and its page in a real browser."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ..unit.inspection.conftest import save_model
from ..unit.serving.conftest import png
from ..waiting import is_ready, wait_until

pytestmark = pytest.mark.slow

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

TOOL = (sys.executable, "-m", "rd_plugin")


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder with a product and a picture, and the address of a server."""
    folder = tmp_path_factory.mktemp("station")
    model = save_model(folder, height=4)
    (folder / "a.png").write_bytes(png(204))
    subprocess.run([*TOOL, "products", "add", "products", "gasket", model], cwd=folder, check=True, timeout=300)
    arguments = ("serve", "products", "--port", "0", "--webhook", "http://127.0.0.1:9/rows")
    server = subprocess.Popen([*TOOL, *arguments], cwd=folder, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    for line in server.stderr:
        if "Serving at " in line:
            address = line.split("Serving at ")[1].split()[0]
            break
    wait_until(lambda: is_ready(address))
    yield folder, address
    os.kill(server.pid, signal.SIGTERM)
    assert server.wait(60) == 0
    # Rows that could not be sent are reported.
    assert "rows are not delivered; the next run will send them" in server.stderr.read()


def test_row_is_that_of_inspect(station: tuple[Path, str]) -> None:
    folder, address = station
    row = httpx.post(f"{address}/inspect?product=gasket&path=a.png", content=png(204)).json()
    command = (*TOOL, "inspect", "products", "a.png", "--product", "gasket", "--jsonl", "rows.jsonl")
    subprocess.run(command, cwd=folder, check=True, timeout=300)
    of_file = json.loads((folder / "rows.jsonl").read_text())
    own = {"milliseconds": 0, "time": ""}
    assert {**row, **own} == {**of_file, **own}
    assert (row["verdict"], row["score"]) == ("anomalous", 0.8)


def test_page_shows_a_picture_that_is_chosen_or_dropped(station: tuple[Path, str], browser: object) -> None:
    folder, address = station
    page = browser.new_page()  # type: ignore[attr-defined]
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: request.url.startswith((address, "data:")) or wrong.append(request.url))
    page.goto(address)
    expect(page.locator("#product option")).to_have_text(["gasket"])
    expect(page.locator("#token")).to_be_hidden()
    page.locator("#file").set_input_files(folder / "a.png")
    article = page.locator("article").first
    expect(article.locator(".verdict")).to_have_text("anomalous")
    expect(article).to_contain_text("a.png")
    expect(article).to_contain_text("score 0.800")
    wait_until(lambda: article.locator("img").evaluate("image => image.naturalWidth") == 4)
    name = "<img src=x onerror=alert(1)>.png"
    page.evaluate(
        """([name, bytes]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
            document.dispatchEvent(new DragEvent("drop", { dataTransfer: data, cancelable: true }));
        }""",
        [name, list(png(20))],
    )
    expect(page.locator("article").first.locator(".verdict")).to_have_text("normal")
    # A name is text.
    expect(page.locator("article").first).to_contain_text(name)
    assert wrong == []
    page.close()
