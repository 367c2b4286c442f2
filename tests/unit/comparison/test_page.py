# SPDX-License-Identifier: Apache-2.0
"""The table and the page of a comparison."""

from pathlib import Path

from rd_plugin.comparison import compare, comparison_table, write_comparison

from .test_recommendation import trial

TRIALS = [trial(model, gain, 10.0, part) for part in ("cap", "<nut>") for model, gain in (("A$B$", 4.0), ("C", 0.0))]


def test_table_sums_counts_over_parts() -> None:
    found = compare(TRIALS)
    lines = comparison_table(TRIALS, found).splitlines()
    assert [line.split()[0] for line in lines] == ["model", "A$B$", "C"]
    count = sum(one.defects_found.count for one in TRIALS if one.model == "A$B$")
    assert f"{100 * count / 80:.1f} % (" in lines[1]
    assert lines[1].split()[-3:] == ["10.0", "1.0", "2"]


def test_page_has_recommendation_picture_and_kinds(tmp_path: Path) -> None:
    found = compare(TRIALS)
    write_comparison(tmp_path / "page.html", TRIALS, found, {"teacher": "<lite>"}, ["D: it <failed>"])
    page = (tmp_path / "page.html").read_text()
    assert str(found) in page
    assert page.count("<svg") == 1
    assert "A$B$</text>" in page
    assert page.count("<td>scratch</td>") == 2
    assert "the rate holds on average" in page
    assert "Left out: D: it &lt;failed&gt;" in page
    for text in ("<nut>", "<lite>"):
        assert text not in page
        assert text.replace("<", "&lt;").replace(">", "&gt;") in page
