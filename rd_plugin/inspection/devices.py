# SPDX-License-Identifier: Apache-2.0
"""Devices other than the CPU, and whether they give the same results."""

import logging

import numpy as np

from .inferencer import Inferencer, Prediction

__all__ = ["compare_with_cpu", "is_cpu"]

logger = logging.getLogger(__name__)

# Scores differ by 1e-5 between runtimes in float32, and by more than this only in lower precision.
_TOLERANCE = 1e-3


def is_cpu(device: str) -> bool:
    """Return whether a device is the CPU, which needs no comparison."""
    return device.lower() == "cpu"


def compare_with_cpu(device: str, found: Prediction, on_cpu: Inferencer, image: np.ndarray) -> None:
    """Log how a device's score of an image differs from the CPU's; warn if it may change verdicts.

    Args:
        device: The device.
        found: Its prediction.
        on_cpu: The same model on the CPU.
        image: 8-bit RGB pixels of shape ``(H, W, 3)``.
    """
    expected = on_cpu.predict(image)
    alike = abs(found.score - expected.score) <= _TOLERANCE and found.anomalous == expected.anomalous
    logger.log(
        logging.INFO if alike else logging.WARNING,
        "Device %s: the score of the first image is %.5f, on the CPU %.5f.%s",
        device,
        found.score,
        expected.score,
        "" if alike else " Verdicts near the threshold may differ from those of the training.",
    )
