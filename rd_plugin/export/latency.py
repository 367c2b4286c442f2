# SPDX-License-Identifier: Apache-2.0
"""How long an exported model takes for an image on this processor."""

import statistics
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import openvino as ov

__all__ = ["latencies"]

# Odd, so that the median is one of them.
_TURNS = 9


def latencies(models: Sequence["ov.Model"], image: np.ndarray) -> list[float]:
    """Return how long each model takes for an image: the median of nine, the models in turn.

    What is not in int8 is computed in float32, as in an inspection.

    Args:
        models: Models as read or converted by OpenVINO.
        image: Their input, of shape ``(1, 3, H, W)``.

    Returns:
        Milliseconds, in the order of the models.
    """
    import openvino as ov  # part of the extra `openvino`

    core = ov.Core()
    compiled = [core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}) for model in models]
    taken: list[list[float]] = [[] for _ in models]
    for _ in range(1 + _TURNS):
        for run, times in zip(compiled, taken, strict=True):
            begun = time.perf_counter()
            run(image)
            times.append(1000 * (time.perf_counter() - begun))
    # The first one allocates memory.
    return [statistics.median(times[1:]) for times in taken]
