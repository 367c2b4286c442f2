# SPDX-License-Identifier: Apache-2.0
import itertools
import time

import numpy as np
import openvino
import pytest

from rd_plugin.export.latency import latencies


def test_median_of_each_model_without_its_first_image(monkeypatch: pytest.MonkeyPatch) -> None:
    images = openvino.opset13.parameter([1, 3, 4, 4], dtype=np.float32)
    model = openvino.Model([openvino.opset13.relu(images)], [images])
    # Seconds that the images take, the models in turn: the first ones, and the slowest of each, do not count.
    taken = [9.0, 9.0, *itertools.chain.from_iterable([(0.002, 0.005)] * 8), 7.0, 0.001]
    times = itertools.chain.from_iterable((100 * index, 100 * index + each) for index, each in enumerate(taken))
    monkeypatch.setattr(time, "perf_counter", lambda: next(times))
    assert latencies([model, model], np.zeros((1, 3, 4, 4), np.float32)) == pytest.approx([2.0, 5.0])
    assert next(times, None) is None
