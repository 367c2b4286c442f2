# SPDX-License-Identifier: Apache-2.0
"""Trainings of several products in parallel: Ray has the queue, the processes and the retries."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from rd_plugin.inspection.ray_engine import cores_of_machines, ray_cluster
from rd_plugin.report import Outcome

from .error_messages import WrongInput

__all__ = ["outcomes_on_ray"]

logger = logging.getLogger(__name__)


def outcomes_on_ray(
    train: Callable[[str], Outcome], products: Sequence[str], threads: int, accelerator: str | None = None
) -> Iterator[tuple[str, Outcome]]:
    """Train on products in parallel, each in a separate process on a Ray cluster.

    All machines must reach the same files under the same names.

    Args:
        train: Trains on a product and returns the outcome; an error that it raises concerns all products.
        products: The names of the products.
        threads: Number of cores of each training.
        accelerator: Lightning's; unless it is ``"cpu"``, each training gets a GPU if the cluster has any.

    Yields:
        Each product as soon as its training has ended, and the outcome. If the process or machine of a training ends,
        Ray restarts the training, and gives up after the fourth try.

    Raises:
        ImportError: If Ray is not installed.
        OSError: If the cluster does not answer, or none can be started.
        ValueError: If no machine has as many cores.
        WrongInput: If the arguments are wrong for all products.
    """
    if not products:
        return
    with ray_cluster(quiet=True):
        import ray

        if threads > max(cores := cores_of_machines(), default=0):
            msg = f"threads must be at most {max(cores, default=0)}, the cores of the largest machine, got {threads}."
            raise ValueError(msg)
        gpus = 1 if accelerator != "cpu" and ray.cluster_resources().get("GPU") else 0
        # A new process for each gives back what a training has left in memory.
        task = ray.remote(num_cpus=threads, num_gpus=gpus, max_calls=1)(_train)
        running = {task.remote(train, product, threads, str(Path.cwd())): product for product in products}
        count = len(running)
        while running:
            (ended,), _ = ray.wait(list(running))
            product = running.pop(ended)
            try:
                outcome = ray.get(ended)
            except ray.exceptions.RayTaskError as error:
                raise WrongInput(str(error.cause)) from error
            except ray.exceptions.RayError as error:
                outcome = Outcome(product, f"its process has ended: {' '.join(str(error).split())}")
            logger.info("%d of %d have ended: %s", count - len(running), count, product)
            yield product, outcome


def _train(train: Callable[[str], Outcome], product: str, threads: int, folder: str) -> Outcome:
    """Train in a process of Ray's, in the folder that relative paths refer to."""
    os.chdir(folder)
    torch.set_num_threads(threads)
    return train(product)
