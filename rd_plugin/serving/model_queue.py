# SPDX-License-Identifier: Apache-2.0
"""The images that wait for one model, several of which it inspects together."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import TypeVar

from rd_plugin.inspection import Inspector

__all__ = ["ModelQueue", "QueueFullError"]

Made = TypeVar("Made")


class QueueFullError(Exception):
    """As many images as allowed are waiting."""


class ModelQueue:
    """A bounded queue of images in front of a model.

    As many threads as keep the model busy take images from it: they decode some, while the runtime computes others at
    the same time (OpenVINO's asynchronous requests).

    Args:
        inspector: The model.
        limit: Maximum number of images that wait or are being inspected.
    """

    def __init__(self, inspector: Inspector, limit: int) -> None:
        self.inspector = inspector
        self._executor = ThreadPoolExecutor(inspector.workers, thread_name_prefix="serve")
        self._free = BoundedSemaphore(limit)

    def submit(self, work: Callable[[Inspector], Made]) -> "Future[Made]":
        """Put an image into the queue.

        Args:
            work: Inspects it, in one of the threads.

        Raises:
            QueueFullError: If the queue is full.
        """
        if not self._free.acquire(blocking=False):
            raise QueueFullError
        future = self._executor.submit(work, self.inspector)
        # Also for a future that is cancelled before its turn.
        future.add_done_callback(lambda _: self._free.release())
        return future

    def close(self) -> None:
        """Wait until all images in the queue have been inspected."""
        self._executor.shutdown()
