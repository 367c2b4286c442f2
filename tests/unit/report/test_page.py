# SPDX-License-Identifier: Apache-2.0
"""The page's text: what was found, nothing that a name makes of itself, and whole or not there."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from rd_plugin.data.check import Problem
from rd_plugin.report import JudgedImage, Judgement, PictureStore, write_report

ATTACK = "</script><img src=x onerror=alert(1)>\n\x1b[2J\u202e\u2028'\"{{ 7 * 7 }}\udcff.png"
SHOWN = "</script><img src=x onerror=alert(1)>\\n\\x1b[2J\\u202e\\u2028'\"{{ 7 * 7 }}\\udcff.png"

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a report; return its text."""

    def written(*images: JudgedImage, **arguments: object) -> str:
        write_report(tmp_path / "new" / "report.html", Judgement("title", images, **arguments))
        return (tmp_path / "new" / "report.html").read_text(encoding="utf-8")

    return written


def data(page: str) -> dict:
    """What the page counts with."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1])


def test_images_by_score_with_what_cannot_be_compared_at_the_ends(write: Write) -> None:
    page = write(
        JudgedImage("low", 0.1, anomalous=False),
        JudgedImage("lost", None, anomalous=True),
        JudgedImage("unread", reason="it is damaged."),
        JudgedImage("high", 0.9, anomalous=True, defective=True, boxes=[(0.5, 0.25, 0.1, 0.1)]),
        threshold=0.5,
    )
    assert data(page)["rows"] == [
        ["lost", None, True, None, "", []],
        ["high", 0.9, True, True, "", [[0.5, 0.25, 0.1, 0.1]]],
        ["low", 0.1, False, None, "", []],
        ["unread", None, None, None, "it is damaged.", []],
    ]


def test_names_are_text_wherever_they_stand(write: Write) -> None:
    page = write(
        JudgedImage(ATTACK, 0.1),
        JudgedImage("unread", reason=ATTACK),
        findings=[Problem(ATTACK, ATTACK)],
        record={"method": ATTACK, "data": {"root": ATTACK}, "versions": {ATTACK: ATTACK}},
        metrics={ATTACK: 1.0},
    )
    assert data(page)["rows"][0][0] == SHOWN
    # The page's own script ends, and nothing else does.
    assert page.count("</script>") == page.count("<script")
    for evil in ("<img src=x", "\x1b", "\u202e", "\u2028", "'\"49"):
        assert evil not in page
    assert "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;\\n\\x1b" in page


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        (None, "was not asked to look"),
        ([], "found nothing to report"),
        ([Problem("a.png", "it is cut.")], "it is cut."),
        ([Problem("a.png", "it is cut.")] * 600, "600 findings, the first 500 of them"),
    ],
)
def test_data_check(write: Write, findings: list[Problem] | None, expected: str) -> None:
    assert expected in write(JudgedImage("a", 0.1), findings=findings)


def test_sections_stand_where_there_is_something_to_tell(write: Write) -> None:
    unknown = write(JudgedImage("a", 0.1, anomalous=False))
    good = write(JudgedImage("a", 0.1, anomalous=False, defective=False))
    both = write(JudgedImage("a", 0.1, defective=False), JudgedImage("b", 0.7, defective=True))
    found = [
        [name for name in ("curves", "mistakes", "findings", "record", "images") if f'<section id="{name}"' in page]
        for page in (unknown, good, both, write())
    ]
    always = ["findings", "record", "images"]
    assert found == [always, ["mistakes", *always], ["curves", "mistakes", *always], always]
    assert "Area under the curve\n        1.0000" in both


def test_pictures_are_within(write: Write) -> None:
    store = PictureStore()
    page = write(
        JudgedImage("low", 0.1, picture=store.put(b"small", b"map")),
        JudgedImage("high", 0.2, picture=store.put(b"x", b"")),
    )
    assert re.findall(r'<script type="text/plain" id="(\w+)">(.*?)</script>', page) == [
        ("i0", "eA=="),
        ("i1", "c21hbGw="),
        ("o1", "bWFw"),
    ]


def test_failed_report_leaves_the_old_one(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = write(JudgedImage("a", 0.1))
    monkeypatch.setattr("rd_plugin.report.page._texts", lambda _: (1 / 0 for _ in range(1)))
    with pytest.raises(ZeroDivisionError):
        write(JudgedImage("b", 0.1))
    assert [path.read_text(encoding="utf-8") for path in (tmp_path / "new").iterdir()] == [before]
