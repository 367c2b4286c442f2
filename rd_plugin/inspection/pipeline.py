# SPDX-License-Identifier: Apache-2.0
"""Process many items in parallel, in order and with bounded memory."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, Full, Queue
from threading import Event, Semaphore, Thread
from typing import TypeVar

__all__ = ["in_order"]

Given = TypeVar("Given")
Made = TypeVar("Made")

# How often a waiting thread checks whether it must stop, in seconds.
_GLANCE = 0.1


def in_order(
    work: Callable[[Given], Made], items: Iterable[Given], workers: int, stop: Event | None = None
) -> Iterator[Made]:
    """Apply a function to items in several threads; yield results in the items' order, each as soon as it is due.

    Items are read from their source in a separate thread, so that waiting for the next item delays no result. An item
    is read when a worker is free for it: of a camera's stream, that is the newest one. At most twice as many items as
    workers are in progress or wait for their turn.

    Args:
        work: The function.
        items: Items to apply it to.
        workers: Number of threads.
        stop: When it is set, no more items are taken; items in progress are finished and yielded.

    Raises:
        Exception: Any error of the source or the function, at its place in the order.

    Example:
        >>> list(in_order(abs, [-1, -2, 3], workers=2))
        [1, 2, 3]
    """
    asked, left = stop or Event(), Event()
    waiting: Queue[Future[Made] | None] = Queue(2 * workers)
    free = Semaphore(workers)
    executor = ThreadPoolExecutor(workers, thread_name_prefix="inspect")

    def put(future: "Future[Made] | None") -> None:
        while not left.is_set():
            with suppress(Full):
                waiting.put(future, timeout=_GLANCE)
                return

    def is_free() -> bool:
        while not (asked.is_set() or left.is_set()):
            if free.acquire(timeout=_GLANCE):
                return True
        return False

    def feed() -> None:
        given = iter(items)
        try:
            while is_free():
                try:
                    item = next(given)
                except StopIteration:
                    break
                if asked.is_set() or left.is_set():
                    break
                future = executor.submit(work, item)
                future.add_done_callback(lambda _: free.release())
                put(future)
        except BaseException as error:  # raised again where the results are consumed
            failed: Future[Made] = Future()
            failed.set_exception(error)
            put(failed)
        put(None)

    # A thread that waits for a line of standard input cannot be stopped.
    feeder = Thread(target=feed, name="inspect-feeder", daemon=True)
    feeder.start()
    try:
        while (future := _next(waiting, asked)) is not None:
            yield future.result()
    finally:
        left.set()
        executor.shutdown(cancel_futures=True)


def _next(waiting: "Queue[Future[Made] | None]", asked: Event) -> "Future[Made] | None":
    """The next result to wait for; ``None`` at the end, or when no more will come."""
    while not asked.is_set():
        with suppress(Empty):
            return waiting.get(timeout=_GLANCE)
    with suppress(Empty):
        return waiting.get(timeout=_GLANCE)
    return None
