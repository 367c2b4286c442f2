# SPDX-License-Identifier: Apache-2.0
"""Drawings: what they come to, and where their axes lie."""

import re

import pytest

from rd_plugin.report.figures import draw_costs, draw_curves, draw_histogram


def test_histogram_has_a_panel_for_what_is_known() -> None:
    names = ("good images", "defects", "images")
    shown = {
        truths: [name for name in names if f">{name}</text>" in draw_histogram([0.2, 0.7], truths, 0, 1).svg]
        for truths in ((False, True), (None, None), (False, False), (True, None))
    }
    assert list(shown.values()) == [["good images", "defects"], ["images"], ["good images"], ["defects", "images"]]
    assert "<svg" in draw_histogram([], [], 0, 1).svg


def test_line_stands_at_the_left_end_of_the_axis() -> None:
    drawing = draw_histogram([-2.0, 0.2, 0.7], [False, True, True], -2, 3)
    found = re.search(r'id="histogram-threshold">\s*<path d="M ([\d.]+) [\d.]+ L ([\d.]+)', drawing.svg)
    assert found is not None
    assert [float(place) for place in found.groups()] == pytest.approx([drawing.left] * 2, abs=1e-3)
    assert 0 < drawing.left < drawing.right < drawing.width


def test_areas_are_those_counted_by_hand() -> None:
    # Of six pairs of a defect and a good image one is in the wrong order, and one is a tie. Scores beyond [0, 1] are no
    # logits here.
    curves = draw_curves([3.0, 2.0, 9.0, 5.0, 2.5], [False, False, True, True, False])
    assert curves["roc"].figure == pytest.approx(1.0)
    curves = draw_curves([3.0, 2.0, 9.0, 2.0, 2.5], [False, False, True, True, False])
    assert curves["roc"].figure == pytest.approx((3 + 0.5) / 6)
    assert curves["precision"].figure == pytest.approx((1 + 2 / 5) / 2)


def test_drawings_of_a_page_share_no_id() -> None:
    svgs = [draw_histogram([0.2, 0.7], [False, True], 0, 1), *draw_curves([0.2, 0.7], [False, True]).values()]
    own = [re.findall(r' id="([a-z]+-[a-z]+)"', drawing.svg) for drawing in svgs]
    assert own == [["histogram-threshold"], ["roc-point"], ["precision-point"]]
    for drawing in svgs:
        assert not re.search(r' id="\w+_\d+"', drawing.svg)
        assert "width=" not in drawing.svg.partition(">")[0]


def test_costs_name_each_model_as_it_is_called() -> None:
    drawing = draw_costs({"A$x$B": (5.0, 0.9, 0.8, 0.95), "anomalib.Padim": (9.0, 1.0, 1.0, 1.0)})
    assert drawing.svg.count("A$x$B</text>") == 1
    assert drawing.svg.count("anomalib.Padim</text>") == 1
    assert "milliseconds an image" in drawing.svg
