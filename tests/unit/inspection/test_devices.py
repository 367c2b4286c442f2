# SPDX-License-Identifier: Apache-2.0
"""A device beside the CPU."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rd_plugin.inspection import Inferencer, Inspector, Prediction, load_inferencer
from rd_plugin.inspection.devices import compare_with_cpu, is_cpu

IMAGE = np.full((4, 6, 3), 150, np.uint8)


class Fixed(Inferencer):
    """Gives every image one score."""

    def __init__(self, score: float) -> None:
        self.score = score

    def predict(self, image: np.ndarray) -> Prediction:
        del image
        return Prediction(self.score > 0.5, self.score, None, None, 1.0)


def test_the_cpu_needs_no_comparison() -> None:
    assert is_cpu("CPU")
    assert is_cpu("cpu")
    assert not is_cpu("AUTO")


@pytest.mark.parametrize(
    ("score", "level"),
    [(0.7, logging.INFO), (0.7004, logging.INFO), (0.71, logging.WARNING), (float("nan"), logging.WARNING)],
)
def test_scores_that_differ_are_warned_of(score: float, level: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    compare_with_cpu("GPU", Fixed(score).predict(IMAGE), Fixed(0.7), IMAGE)
    (record,) = caplog.records
    assert record.levelno == level
    assert record.message.startswith(f"Device GPU: the score of the first image is {score:.5f}, on the CPU 0.70000.")
    assert ("may differ" in record.message) == (level == logging.WARNING)


def test_the_first_image_is_compared(save: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    inspector = Inspector(save(), device="auto")
    scores = [inspector.predict(IMAGE).score, inspector.predict(IMAGE // 2).score]
    assert scores == [pytest.approx(150 / 255, abs=1e-5), pytest.approx(75 / 255, abs=1e-5)]
    assert [record.message.partition(":")[0] for record in caplog.records] == ["Device auto"]


def test_devices_that_are_not_there(save: Callable[..., Path]) -> None:
    with pytest.raises(ValueError, match=r"device 'TPU' cannot run model.xml; OpenVINO finds CPU"):
        load_inferencer(save(), device="TPU")
    with pytest.raises(ValueError, match=r"precision must be 'float16' for device 'NPU', .* got 'float32'"):
        load_inferencer(save(), device="NPU")
