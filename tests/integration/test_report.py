# SPDX-License-Identifier: Apache-2.0
"""The report in a real browser, of a training through the command line and of verdicts that inspect has written."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rd_plugin.commands.tool import main
from rd_plugin.data.check import Problem
from rd_plugin.data.labels import Labels, read_labels
from rd_plugin.report import ReportContent, Thumbnail, make_thumbnail, write_report
from rd_plugin.results import InspectionResult

from .conftest import Trained, one_method

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

ATTACK = "</script><img src=x onerror=alert(1)>\n\u202e.png"
GOOD, DEFECTS = 90, 60
WAIT = 20_000


class Opened:
    """A page and what it did that it should not do."""

    def __init__(self, browser: Any, file: Path, **arguments: object) -> None:
        self.page = browser.new_page(**arguments)
        self.wrong: list[str] = []
        self.page.on("console", lambda message: self.wrong.append(message.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: self.wrong.append(dialog.message))
        self.page.on("request", lambda request: self._note(request.url, file.as_uri()))
        self.page.goto(file.as_uri())
        self.page.locator(".card").first.wait_for()

    def _note(self, url: str, own: str) -> None:
        if url != own and not url.startswith("data:"):
            self.wrong.append(f"fetched {url}")

    def count(self, name: str) -> int:
        return int(self.page.locator(f"#count-{name}").inner_text().split()[0])

    def shown(self) -> list[str]:
        """Names of the cards, once they are drawn."""
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return self.page.locator("#cards .name").all_inner_texts()


@pytest.fixture(scope="module")
def content() -> ReportContent:
    """Good images and defects whose scores overlap, one with a hostile name, one with an error."""
    rng = np.random.default_rng(0)
    results, thumbnails = list[InspectionResult](), dict[str, Thumbnail]()
    for index in range(GOOD + DEFECTS):
        defective = index >= GOOD
        score = float(np.clip(rng.normal(0.65 if defective else 0.35, 0.15), 0, 1))
        pixels = Image.fromarray(rng.integers(0, 256, (32, 48, 3), dtype=np.uint8))
        name = ATTACK if index == 0 else f"{'defect' if defective else 'good'}/{index:03}.png"
        thumbnails[name] = make_thumbnail(pixels, np.full((16, 16), score), expected=GOOD + DEFECTS)
        results.append(InspectionResult(name, "anomalous" if score > 0.5 else "normal", score, defective=defective))
    results.append(InspectionResult("good/cut.png", "error", reason=ATTACK, defective=False))
    record, metrics = {"method": ATTACK}, {"image_AUROC": 0.9}
    return ReportContent("report", results, thumbnails, 0.5, [Problem(ATTACK, ATTACK)], record, metrics)


@pytest.fixture(scope="module")
def results(content: ReportContent) -> list[InspectionResult]:
    """The results of the images."""
    return list(content.results)


@pytest.fixture
def opened(browser: Any, content: ReportContent, tmp_path: Path) -> Iterator[Opened]:
    """A report in the browser, which must have been quiet to the end."""
    write_report(tmp_path / "report.html", content)
    opened = Opened(browser, tmp_path / "report.html", viewport={"width": 1100, "height": 900})
    yield opened
    opened.page.close()
    assert opened.wrong == []


def counted(results: list[InspectionResult], threshold: float) -> dict[str, int]:
    scored = [image for image in results if image.score is not None]
    above = [image for image in scored if image.score > threshold]
    false = sum(not image.defective for image in above)
    return {
        "anomalous": len(above),
        "normal": len(scored) - len(above),
        "false-alarms": false,
        "misses": DEFECTS - (len(above) - false),
        "errors": len(results) - len(scored),
    }


def test_slider_recounts(opened: Opened, results: list[InspectionResult]) -> None:
    expected = counted(results, 0.5)
    assert {name: opened.count(name) for name in expected} == expected
    slider = opened.page.locator("#threshold")
    slider.focus()
    for _ in range(80):
        slider.press("ArrowRight")
    threshold = float(slider.input_value())
    assert threshold == pytest.approx(0.58)
    moved = counted(results, threshold)
    assert moved != expected
    assert {name: opened.count(name) for name in moved} == moved
    assert "The model's own is 0.5" in opened.page.locator("#verdicts").inner_text()
    rates = moved["false-alarms"] / GOOD, 1 - moved["misses"] / DEFECTS
    told = re.findall(r"rate (\d\.\d+)", opened.page.locator("#at-roc").inner_text())
    assert [float(rate) for rate in told] == pytest.approx(rates, abs=6e-4)
    line, axis = (opened.page.locator(selector).bounding_box() for selector in ("#histogram-threshold", "#threshold"))
    # A thumb's centre is half its width from where the slider begins.
    assert line["x"] + line["width"] / 2 == pytest.approx(axis["x"] + 8 + threshold * (axis["width"] - 16), abs=2)
    opened.page.locator("#reset").click()
    assert {name: opened.count(name) for name in expected} == expected


def test_filters_and_order(opened: Opened, results: list[InspectionResult]) -> None:
    shown = [image.path for image in sorted(results, key=lambda image: 1 if image.score is None else -image.score)]
    assert opened.shown() == [name.replace("\n", "\\n").replace("\u202e", "\\u202e") for name in shown[:48]]
    opened.page.locator("[data-show=misses]").click()
    missed = sorted(
        (image for image in results if image.defective and image.verdict == "normal"), key=lambda x: -x.score
    )
    assert opened.shown() == [image.path for image in missed]
    opened.page.locator("#order").select_option("mistakes")
    assert opened.shown() == [image.path for image in reversed(missed)]
    worst = opened.page.locator("#worst-misses .name").all_inner_texts()
    assert worst == [image.path for image in reversed(missed)][:6]
    opened.page.locator("[data-show=all]").click()
    opened.page.locator("#name").fill("CUT")
    assert opened.shown() == ["good/cut.png"]
    assert "error" in opened.page.locator("#cards figcaption").inner_text()


def test_names_are_read_as_text(opened: Opened) -> None:
    opened.page.locator("#name").fill("onerror")
    assert opened.shown() == ["</script><img src=x onerror=alert(1)>\\n\\u202e.png"]
    assert opened.page.locator("img[src=x]").count() == 0


def test_overlay_on_hover_and_large_on_click(opened: Opened) -> None:
    marks = opened.page.locator("#cards .marks").first
    assert marks.evaluate("(marks) => getComputedStyle(marks).opacity") == "0"
    opened.page.locator("#cards .picture").first.hover()
    expect(marks).to_have_css("opacity", "1", timeout=WAIT)
    opened.page.locator("#cards .picture").first.click()
    assert opened.page.locator("#large .picture").count() == 2
    # The plain image stays beside its overlay, with all overlays, too.
    opened.page.evaluate("document.getElementById('overlays').click()")
    expect(marks).to_have_css("opacity", "1", timeout=WAIT)
    for place, opacity in enumerate("01"):
        expect(opened.page.locator("#large .marks").nth(place)).to_have_css("opacity", opacity, timeout=WAIT)
    first = opened.page.locator("#large .path").inner_text()
    opened.page.keyboard.press("ArrowRight")
    assert opened.page.locator("#large .path").inner_text() != first
    opened.page.keyboard.press("Escape")
    assert not opened.page.locator("#large").is_visible()


def test_labels_are_saved(opened: Opened, tmp_path: Path) -> None:
    page = opened.page
    assert not page.locator("#save-labels").is_visible()
    names = opened.shown()
    for place, (label, note) in enumerate((("good", 'dust, "grey"'), ("defect", ""), ("unclear", "?"))):
        page.locator("#cards .picture").nth(place).click()
        page.locator("#label").select_option(label)
        page.locator("#note").fill(note)
        # Arrows move within the note.
        page.locator("#note").press("ArrowLeft")
        page.locator("#close").click()
    assert page.locator("#cards .labelled").all_inner_texts() == [
        "labelled good",
        "labelled defect",
        "labelled unclear",
    ]
    assert page.locator("#save-labels").inner_text() == "Save labels.csv (3)"
    with page.expect_download() as download:
        page.locator("#save-labels").click()
    download.value.save_as(tmp_path / "labels.csv")
    for name in names[:3]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert read_labels(tmp_path / "labels.csv", tmp_path) == Labels(*((tmp_path / name,) for name in names[:3]))
    assert 'dust, ""grey""' in (tmp_path / "labels.csv").read_text()


def test_all_images_come_by_scrolling(opened: Opened, results: list[InspectionResult]) -> None:
    for _ in range(2 + len(results) // 48):
        opened.page.locator("#more").scroll_into_view_if_needed()
        opened.shown()
    expect(opened.page.locator("#cards .card")).to_have_count(len(results), timeout=WAIT)


def test_phone_and_paper(browser: Any, opened: Opened, tmp_path: Path) -> None:
    phone = Opened(browser, tmp_path / "report.html", viewport={"width": 360, "height": 740})
    # Nothing is cut off, and nothing scrolls sideways.
    assert phone.page.evaluate("document.documentElement.scrollWidth") == 360
    phone.page.close()
    opened.page.emulate_media(media="print")
    assert not opened.page.locator(".filters").is_visible()
    assert opened.page.locator("#cards .card").first.is_visible()


@one_method
def test_training_leaves_a_report(trained: Trained, browser: Any) -> None:
    (report,) = trained.folder.glob("results/*/MVTec/tile/v0/report.html")
    assert re.search(r"report +results/\S+/v0/report\.html", trained.output)
    opened = Opened(browser, report)
    rows = json.loads(opened.page.locator("#data").inner_text())["rows"]
    assert len(rows) == 12
    assert {row[0].split("/")[0] for row in rows} == {"good", "scratch", "stain"}
    assert opened.count("anomalous") == sum(row[2] for row in rows)
    assert opened.count("false-alarms") == sum(row[2] and not row[3] for row in rows)
    assert opened.count("misses") == sum(row[3] and not row[2] for row in rows)
    for expected in ("there are 4 normal images to set thresholds on", "tf_efficientnet_lite0", "pixel_AUPRO"):
        assert expected in opened.page.content()
    assert opened.page.locator("#cards img").count() == 24
    # Rejected if a picture is none.
    opened.page.evaluate("Promise.all([...document.images].map((i) => { i.loading = 'eager'; return i.decode(); }))")
    opened.page.close()
    assert opened.wrong == []


@one_method
def test_report_of_results(trained: Trained, browser: Any, mvtec_root: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as status:
        main(["inspect", str(trained.checkpoint), str(mvtec_root / "tile" / "test"), "--jsonl", "verdicts.jsonl"])
    assert not status.value.code
    main(["report", "verdicts.jsonl", "--good", "good", "--model", str(trained.checkpoint)])
    opened = Opened(browser, tmp_path / "verdicts.html")
    rows = [json.loads(line) for line in Path("verdicts.jsonl").read_text().splitlines()]
    assert opened.count("anomalous") == sum(row["verdict"] == "anomalous" for row in rows)
    assert opened.count("misses") == sum(row["verdict"] == "normal" and "/good/" not in row["path"] for row in rows)
    assert opened.page.locator("#cards img").count() == len(rows)
    assert trained.method.__name__ in opened.page.locator("#record").inner_text()
    opened.page.close()
    assert opened.wrong == []
