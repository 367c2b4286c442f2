# SPDX-License-Identifier: Apache-2.0
"""What came of several trainings: as a file, as a table, and as a page."""

from pathlib import Path

import pytest

from rd_plugin.report import Outcome, overview_table, read_outcomes, write_outcomes, write_overview
from rd_plugin.results import Share

OUTCOMES = [
    Outcome("cap", "", 90.0, 24, 18, {"image_AUROC": 0.9}, Share(0, 8), Share(9, 10), "Fused/cap #1/v0/report.html"),
    Outcome("<nut>\n", "the <loss> is not finite"),
    Outcome("screw", "", 30.0, 12, 4),
]


def test_file_gives_back_what_was_written(tmp_path: Path) -> None:
    write_outcomes(tmp_path / "products.json", ["train", "--each"], OUTCOMES)
    assert read_outcomes(tmp_path / "products.json") == (["train", "--each"], OUTCOMES)


@pytest.mark.parametrize("content", ["", "[]", '{"command": []}', '{"command": [], "products": [{}]}'])
def test_another_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "products.json").write_text(content)
    with pytest.raises(ValueError, match=r"products.json' does not contain results of trainings; remove it."):
        read_outcomes(tmp_path / "products.json")


def test_table_has_a_row_for_each_product() -> None:
    lines = overview_table(OUTCOMES).splitlines()
    assert [line.split("  ")[1] for line in lines] == ["product", "cap", "<nut>\\n", "screw"]
    assert " ".join(lines[1].split()) == "cap 24 18 0.9000 0.0 % (0.0 to 36.9) 90.0 % (55.5 to 99.7) 1.5"
    assert lines[2].split(maxsplit=1)[1] == "failed: the <loss> is not finite"
    assert lines[3].split() == ["screw", "12", "4", "-", "-", "-", "0.5"]


def test_page_links_reports_and_shows_names_as_text(tmp_path: Path) -> None:
    write_overview(tmp_path / "index.html", "Models of <parts>", OUTCOMES)
    page = (tmp_path / "index.html").read_text()
    assert '<a href="Fused/cap%20%231/v0/report.html">cap</a>' in page
    assert page.count("<a ") == 1
    assert "2 of 3 products have a new model." in page
    assert "<nut>" not in page
    assert "&lt;nut&gt;\\n" in page
    assert "the &lt;loss&gt; is not finite" in page
    assert "Models of &lt;parts&gt;" in page
