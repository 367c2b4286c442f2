# SPDX-License-Identifier: Apache-2.0
"""The queue in front of a model."""

from threading import Barrier, Event

import numpy as np
import pytest

from rd_plugin.inspection import Inferencer, Inspector, Prediction
from rd_plugin.serving.model_queue import ModelQueue, QueueFullError


class Two(Inferencer):
    """A model that works on two images at a time."""

    parallel = 2

    def predict(self, image: np.ndarray) -> Prediction:
        del image
        raise NotImplementedError


def test_several_images_are_worked_on_together() -> None:
    queue = ModelQueue(Inspector(Two(), workers=1), limit=8)
    # Passed by three threads at once only.
    barrier = Barrier(3)
    futures = [queue.submit(lambda _: barrier.wait(60)) for _ in range(6)]
    assert sorted(future.result(30) for future in futures) == [0, 0, 1, 1, 2, 2]
    queue.close()


def test_queue_is_bounded_and_finishes_what_it_has() -> None:
    queue = ModelQueue(Inspector(Two(), workers=1), limit=4)
    go = Event()
    futures = [queue.submit(lambda _: go.wait(60)) for _ in range(4)]
    with pytest.raises(QueueFullError):
        queue.submit(lambda _: True)
    # One that waits is cancelled, and leaves its place to another.
    assert futures.pop().cancel()
    futures.append(queue.submit(lambda _: True))
    go.set()
    queue.close()
    assert [future.result(30) for future in futures] == [True] * 4


def test_an_error_leaves_the_queue_as_it_was() -> None:
    queue = ModelQueue(Inspector(Two()), limit=1)
    for _ in range(3):
        future = queue.submit(lambda _: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            future.result(30)
        while True:
            try:
                assert queue.submit(lambda _: 1).result() == 1
            except QueueFullError:
                continue
            break
    queue.close()
