# SPDX-License-Identifier: Apache-2.0
"""Runs of solar cells: alarms that are false, and changes that are found."""

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
import pytest
from PIL import Image

from rd_plugin import SolarCells
from rd_plugin.drift import DriftMonitor, Reference, image_statistics
from rd_plugin.drift.monitor import FALSE_ALARM_RATE

KNOWN = 150
RUNS = 200
FEW_RUNS = 60
CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "gain 0.85": lambda image: np.round(0.85 * image).astype(np.uint8),
    "gamma 1.3": lambda image: np.round(255 * (image / 255) ** 1.3).astype(np.uint8),
    "blur of 2 pixels": lambda image: cv2.GaussianBlur(image, (0, 0), 2),
}


@cache
def files(kind: str) -> list[str]:
    """Good cells of a type."""
    cells = SolarCells(kind)
    cells.setup()
    return list(cells.train_data.samples["image_path"])


def statistics(paths: list[str], change: Callable[[np.ndarray], np.ndarray] = lambda image: image) -> np.ndarray:
    return np.stack([image_statistics(change(np.asarray(Image.open(path).convert("RGB")))) for path in paths])


@pytest.fixture(scope="module")
def cells() -> np.ndarray:
    """Statistics of good monocrystalline cells, in random order."""
    return statistics([str(path) for path in np.random.default_rng(0).permutation(files("mono"))])


def alarm(monitor: DriftMonitor, images: np.ndarray, scores: np.ndarray | None = None) -> int | None:
    """After how many images a run alarms; ``None`` if it does not."""
    scores = np.zeros(len(images)) if scores is None else scores
    for count, (image, score) in enumerate(zip(images, scores, strict=True), 1):
        if monitor.add(image, float(score)):
            return count
    return len(images) if monitor.finish() else None


@pytest.mark.parametrize("runs", [FEW_RUNS, pytest.param(RUNS, marks=pytest.mark.slow)])
def test_runs_of_the_same_cells_alarm_seldom(cells: np.ndarray, runs: int) -> None:
    """Three looks at each run, at statistics and scores; each with a reference of its own."""
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(runs):
        drawn = cells[rng.permutation(len(cells))[: KNOWN + 60]]
        scores = rng.normal(size=len(drawn))
        monitor = DriftMonitor(Reference(drawn[:KNOWN], scores[:KNOWN]))
        alarms += alarm(monitor, drawn[KNOWN:], scores[KNOWN:]) is not None
        assert len(monitor.looks) == 3 or monitor.alarmed
    assert alarms <= FALSE_ALARM_RATE * runs


@pytest.mark.slow
def test_windows_of_the_same_cells_alarm_seldom(cells: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(RUNS):
        drawn = cells[rng.permutation(len(cells))]
        monitor = DriftMonitor(Reference(drawn[:KNOWN]), window=50)
        alarms += alarm(monitor, drawn[KNOWN:]) is not None
    assert alarms <= FALSE_ALARM_RATE * RUNS


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("window", [None, 50])
def test_changed_cells_alarm_within_50_images(cells: np.ndarray, change: str, window: int | None) -> None:
    order = [str(path) for path in np.random.default_rng(0).permutation(files("mono"))]
    monitor = DriftMonitor(Reference(cells[:KNOWN]), window)
    assert (alarm(monitor, statistics(order[KNOWN : KNOWN + 50], CHANGES[change])) or 99) <= 50


def test_cells_of_another_type_alarm_within_50_images(cells: np.ndarray) -> None:
    monitor = DriftMonitor(Reference(cells[:KNOWN]))
    assert (alarm(monitor, statistics(files("poly")[:50])) or 99) <= 50
    assert "the images differ from the training images" in monitor.summary()


def test_higher_scores_alarm(cells: np.ndarray) -> None:
    scores = np.random.default_rng(0).normal(size=len(cells))
    reference = Reference(cells[:KNOWN], scores[:KNOWN])
    higher, lower = DriftMonitor(reference), DriftMonitor(reference)
    assert alarm(higher, cells[KNOWN : KNOWN + 50], scores[KNOWN : KNOWN + 50] + 1.5) is not None
    assert higher.looks[-1].reason == "scores are higher"
    assert alarm(lower, cells[KNOWN : KNOWN + 50], scores[KNOWN : KNOWN + 50] - 1.5) is None


def test_window_forgets(cells: np.ndarray, caplog: pytest.LogCaptureFixture) -> None:
    """Darker images alarm, and when they are gone the alarm ends; a run as a whole keeps them."""
    order = [str(path) for path in np.random.default_rng(0).permutation(files("mono"))]
    dark = statistics(order[KNOWN : KNOWN + 50], CHANGES["gain 0.85"])
    run = np.concatenate([cells[KNOWN : KNOWN + 50], dark, cells[KNOWN + 50 : KNOWN + 150]])
    verdicts = []
    with caplog.at_level("INFO", logger="rd_plugin.drift"):
        monitor = DriftMonitor(Reference(cells[:KNOWN]), window=50)
        verdicts = [monitor.add(image, 0.0) for image in run]
    assert verdicts[:24] == [None] * 24
    assert verdicts[24:50] == [False] * 26
    assert verdicts[99] is True
    assert verdicts[-1] is monitor.drifted is False
    assert monitor.alarmed
    assert len([record for record in caplog.records if "Drift detected" in record.message]) == 1
    assert caplog.records[-1].message.startswith("Drift is no longer detected after")
    assert "of 8 comparisons, first after" in monitor.summary()
    assert "lower" in monitor.summary()


@pytest.mark.parametrize("window", [None, 50])
def test_levels_of_a_run_of_any_length_add_up_to_the_rate(
    cells: np.ndarray, window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rd_plugin.drift.monitor.energy_test", lambda *_, **__: 1.0)
    monitor = DriftMonitor(Reference(cells[:KNOWN]), window)
    for _ in range(2010):
        monitor.add(cells[0], 0.0)
    monitor.finish()
    looked = [look.inspected for look in monitor.looks]
    assert looked == [25, 50, 100, 200, 400, 800, 1600, 2010] if window is None else [*range(25, 2001, 25), 2010]
    levels = [look.level for look in monitor.looks]
    assert levels == sorted(levels, reverse=True)
    assert 0.8 * FALSE_ALARM_RATE < sum(levels) < FALSE_ALARM_RATE
    # What another run had spent is not there again.
    resumed = DriftMonitor(Reference(cells[:KNOWN]), window)
    resumed.go_on(1000)
    for _ in range(1000):
        resumed.add(cells[0], 0.0)
    assert resumed.looks[0].level <= levels[looked.index(800 if window is None else 1000)]
    assert resumed.looks[0].inspected == (1600 if window is None else 1025)
    late = DriftMonitor(Reference(cells[:KNOWN]), window)
    late.go_on(1590)
    for _ in range(30):
        late.add(cells[0], 0.0)
    # Not before there are enough of them.
    assert [look.inspected for look in late.looks] == [1615]


def test_months_of_images_take_no_more_memory(cells: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rd_plugin.drift.monitor.energy_test", lambda *_, **__: 0.0 if monitor._inspected < 50 else 1.0)
    monitor = DriftMonitor(Reference(cells[:KNOWN]), window=50)
    for _ in range(25 * 1100):
        monitor.add(cells[0], 0.0)
    assert len(monitor.looks) == 1000
    assert monitor.alarmed
    assert "(1 of 1100 comparisons, first after 25 images" in monitor.summary()


def test_run_is_compared_by_a_sample_of_all_of_it(cells: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []
    monkeypatch.setattr(
        "rd_plugin.drift.monitor.energy_test", lambda _, others, seed: seen.append(others) or float(seed > 0)
    )
    monitor = DriftMonitor(Reference(cells[:KNOWN]))
    for index in range(1600):
        monitor.add(np.full(15, index), 0.0)
    assert len(seen[-1]) == 256
    assert seen[-1][:, 0].mean() == pytest.approx(800, abs=80)


def test_too_few_images_are_no_verdict(cells: np.ndarray) -> None:
    monitor = DriftMonitor(Reference(cells[:KNOWN]))
    for image in cells[:24]:
        assert monitor.add(image, 0.0) is None
    assert monitor.finish() is None
    assert monitor.summary() == "Drift: unknown, since detection needs 25 images and there were 24."
    with pytest.raises(ValueError, match="window must be at least 25, got 10"):
        DriftMonitor(monitor.reference, window=10)
