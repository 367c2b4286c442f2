# SPDX-License-Identifier: Apache-2.0
"""The page's text: what was found, nothing that a name makes of itself, and whole or not there."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from rd_plugin.data.check import Problem
from rd_plugin.report import ReportContent, Thumbnail, write_report
from rd_plugin.results import AS_A_WHOLE, InspectionResult, Region

ATTACK = "</script><img src=x onerror=alert(1)>\n\x1b[2J\u202e\u2028'\"{{ 7 * 7 }}\udcff.png"
SHOWN = "</script><img src=x onerror=alert(1)>\\n\\x1b[2J\\u202e\\u2028'\"{{ 7 * 7 }}\\udcff.png"

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a report; return its text."""

    def written(*results: InspectionResult, **arguments: object) -> str:
        write_report(tmp_path / "new" / "report.html", ReportContent("title", results, **arguments))
        return (tmp_path / "new" / "report.html").read_text(encoding="utf-8")

    return written


def data(page: str) -> dict:
    """What the page counts with."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1])


def test_images_by_score_with_what_cannot_be_compared_at_the_ends(write: Write) -> None:
    page = write(
        InspectionResult("low", "normal", 0.1),
        InspectionResult("lost", "anomalous"),
        InspectionResult("whole", "anomalous", 0.6, reason=AS_A_WHOLE),
        InspectionResult("unread", "error", reason="it is damaged."),
        InspectionResult("old", "error"),
        InspectionResult("high", "anomalous", 0.9, boxes=(Region(20, 5, 4, 2, 8, 0.9),), defective=True),
        InspectionResult("unknown", "", 0.05, boxes=(Region(0, 0, 1, 1, 1, None),)),
        threshold=0.5,
        thumbnails={"high": Thumbnail(b"image", b"", (40, 20))},
    )
    assert data(page)["rows"] == [
        ["lost", None, True, None, "", [], ""],
        ["high", 0.9, True, True, "", [[0.5, 0.25, 0.1, 0.1, 0]], ""],
        ["whole", 0.6, True, None, "", [], AS_A_WHOLE],
        ["low", 0.1, False, None, "", [], ""],
        ["unknown", 0.05, None, None, "", [], ""],
        ["old", None, None, None, "error", [], ""],
        ["unread", None, None, None, "it is damaged.", [], ""],
    ]


def test_names_are_text_wherever_they_stand(write: Write) -> None:
    page = write(
        InspectionResult(ATTACK, "normal", 0.1),
        InspectionResult("unread", "error", reason=ATTACK),
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
        (None, "did not run"),
        ([], "found no problems"),
        ([Problem("a.png", "it is cut.")], "it is cut."),
        ([Problem("a.png", "it is cut.")] * 600, "600 findings, the first 500 of them"),
    ],
)
def test_data_check(write: Write, findings: list[Problem] | None, expected: str) -> None:
    assert expected in write(InspectionResult("a", "normal", 0.1), findings=findings)


def test_sections_stand_where_there_is_something_to_tell(write: Write) -> None:
    unknown = write(InspectionResult("a", "normal", 0.1))
    good = write(InspectionResult("a", "normal", 0.1, defective=False))
    both = write(InspectionResult("a", "", 0.1, defective=False), InspectionResult("b", "", 0.7, defective=True))
    found = [
        [
            name
            for name in ("expected", "curves", "mistakes", "findings", "record", "images")
            if f'<section id="{name}"' in page
        ]
        for page in (unknown, good, both, write())
    ]
    always = ["findings", "record", "images"]
    assert found == [
        always,
        ["expected", "mistakes", *always],
        ["expected", "curves", "mistakes", *always],
        always,
    ]
    assert "Area under the curve\n        1.0000" in both


def test_first_lines_say_false_alarms_and_defects_found(write: Write) -> None:
    good = [InspectionResult(f"good/{i}", "normal", i / 100, defective=False) for i in range(40)]
    bad = [InspectionResult(f"defect/{i}", "anomalous", 0.37 + i / 100, defective=True) for i in range(10)]
    # Called anomalous although its score is low: at the model's threshold its own verdict counts.
    odd = InspectionResult("good/odd", "anomalous", 0.01, defective=False)
    error = InspectionResult("good/error", "error", reason="it is cut.", defective=False)
    page = write(*good, *bad, odd, error, threshold=0.36)
    table = page[page.index("<main>") : page.index("</table>")]
    cells = [re.sub("<.*?>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", table)]
    assert cells[4:8] == [
        "the model's threshold",
        "0.36",
        "1 of 41 (2.4 %, 95 % interval 0.1 to 12.9 %)",
        "10 of 10 (100.0 %, 95 % interval 69.2 to 100.0 %)",
    ]
    assert [cells[place].partition(" (")[0] for place in range(8, len(cells))] == [
        *("a false-alarm rate of 0.1 %", "0.39", "0 of 41", "7 of 10"),
        *("a false-alarm rate of 1 %", "0.39", "0 of 41", "7 of 10"),
        *("a false-alarm rate of 5 %", "0.37", "2 of 41", "9 of 10"),
        *("a false-alarm rate of 10 %", "0.35", "4 of 41", "10 of 10"),
    ]
    assert "the normal test images exceed" in page
    assert re.search(r"<p>AUROC 0\.9\d{3}</p>", page)


def test_several_parts_are_counted_each_by_itself(write: Write) -> None:
    results = [
        InspectionResult(
            f"{part}/{i}", "anomalous" if i > limit else "normal", i / 10, 0.5, product=part, defective=i > 4
        )
        for part, limit in (("cap", 5), ("screw", 3))
        for i in range(10)
    ]
    page = write(*results, threshold=0.5)
    table = page[page.index("<main>") : page.index("</table>")]
    cells = [re.sub("<.*?>", "", cell).partition(" (")[0] for cell in re.findall(r"<t[hd].*?</t[hd]>", table)]
    assert cells[4:] == ["cap", "0.5", "0 of 5", "4 of 5", "screw", "0.5", "1 of 5", "5 of 5"]
    assert "<option>screw</option>" in page
    assert sorted(data(page)["products"]) == ["cap"] * 10 + ["screw"] * 10
    # No figure of all parts together.
    assert "AUROC" not in page
    alone = write(*(result for result in results if result.product == "cap"), threshold=0.5)
    assert "AUROC" in alone
    assert 'id="product"' not in alone


def test_pictures_are_within(write: Write) -> None:
    thumbnails = {"low": Thumbnail(b"small", b"map", (4, 4)), "high": Thumbnail(b"x", b"", (4, 4))}
    page = write(InspectionResult("low", "normal", 0.1), InspectionResult("high", "normal", 0.2), thumbnails=thumbnails)
    assert re.findall(r'<script type="text/plain" id="(\w+)">(.*?)</script>', page) == [
        ("i0", "eA=="),
        ("i1", "c21hbGw="),
        ("o1", "bWFw"),
    ]


def test_failed_report_leaves_the_old_one(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = write(InspectionResult("a", "normal", 0.1))
    monkeypatch.setattr("rd_plugin.report.page._texts", lambda _: (1 / 0 for _ in range(1)))
    with pytest.raises(ZeroDivisionError):
        write(InspectionResult("b", "normal", 0.1))
    assert [path.read_text(encoding="utf-8") for path in (tmp_path / "new").iterdir()] == [before]
