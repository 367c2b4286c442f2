# SPDX-License-Identifier: Apache-2.0
"""The process of a side, which takes turns with another's.

It has a file of its own, since a new process does not read ``__main__`` of a package.
"""

import gc
import resource
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import torch

__all__ = ["work"]


def work(
    connection: Connection,
    make: Callable[[], Callable[[], None]],
    warm_up: int,
    threads: int,
    clock: Callable[[], float] = time.perf_counter,
) -> None:
    """Run turns as they are asked for; the answer is seconds by a clock, and in the end the peak memory in MiB."""
    torch.set_num_threads(threads)
    run = make()
    for _ in range(warm_up):
        run()
    connection.send(None)
    while repeats := connection.recv():
        gc.collect()
        start = clock()
        for _ in range(repeats):
            run()
        connection.send((clock() - start) / repeats)
    on_device = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_initialized() else 0
    connection.send(on_device or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
