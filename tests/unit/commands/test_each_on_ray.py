# SPDX-License-Identifier: Apache-2.0
"""Trainings side by side on Ray, which is replaced here; ``tests/integration/test_each.py`` has a cluster."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rd_plugin.commands import each_on_ray
from rd_plugin.commands.each_on_ray import outcomes_on_ray
from rd_plugin.commands.error_messages import WrongInput
from rd_plugin.report import Outcome

ray = pytest.importorskip("ray")


class Cluster:
    """Ray in this process: tasks run when they are asked for, and the last one ends first."""

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}
        self.gpus = 0

    def remote(self, **options: Any) -> Callable[..., Any]:
        self.options = options

        class Task:
            def __init__(self, function: Callable[..., Outcome]) -> None:
                self.function = function

            def remote(self, *arguments: Any) -> Callable[[], Outcome]:
                return lambda: self.function(*arguments)

        return Task

    def wait(self, running: list) -> tuple[list, list]:
        return running[-1:], running[:-1]

    def get(self, task: Callable[[], Outcome]) -> Outcome:
        try:
            return task()
        except ray.exceptions.RayError:
            raise
        except Exception as error:
            name, traceback = "train", "its traceback"
            raise ray.exceptions.RayTaskError(name, traceback, error) from error


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    @contextmanager
    def connected(quiet: bool) -> Iterator[None]:
        assert quiet
        yield

    found = Cluster()
    monkeypatch.setattr(each_on_ray, "ray_cluster", connected)
    monkeypatch.setattr(each_on_ray, "cores_of_machines", lambda: [2, 8])
    monkeypatch.setattr(each_on_ray.torch, "set_num_threads", lambda _count: None)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 10.0, "GPU": float(found.gpus)})
    for name in ("remote", "wait", "get"):
        monkeypatch.setattr(ray, name, getattr(found, name))
    return found


def test_products_come_as_they_end_and_a_lost_process_is_a_failure(cluster: Cluster) -> None:
    def train(product: str) -> Outcome:
        if product == "nut":
            raise ray.exceptions.WorkerCrashedError
        return Outcome(product, training=20)

    found = dict(outcomes_on_ray(train, ["cap", "nut", "screw"], 3, "cpu"))
    assert list(found) == ["screw", "nut", "cap"]
    assert found["cap"] == Outcome("cap", training=20)
    assert found["nut"].reason.startswith("its process has ended: The worker died unexpectedly")
    assert cluster.options == {"num_cpus": 3, "num_gpus": 0, "max_calls": 1}


@pytest.mark.parametrize(
    ("accelerator", "gpus", "expected"), [(None, 4, 1), ("gpu", 4, 1), ("cpu", 4, 0), (None, 0, 0)]
)
def test_each_gets_a_gpu_if_there_are_any(cluster: Cluster, accelerator: str | None, gpus: int, expected: int) -> None:
    cluster.gpus = gpus
    list(outcomes_on_ray(Outcome, ["cap"], 1, accelerator))
    assert cluster.options["num_gpus"] == expected


@pytest.mark.usefixtures("cluster")
def test_what_is_wrong_for_all_stops_all() -> None:
    begun = []

    def train(product: str) -> Outcome:
        begun.append(product)
        msg = "--trainer.max_stps is unknown"
        raise WrongInput(msg)

    with pytest.raises(WrongInput, match=r"^--trainer.max_stps is unknown$"):
        list(outcomes_on_ray(train, ["cap", "nut"], 1))
    assert begun == ["nut"]
    with pytest.raises(ValueError, match="threads must be at most 8, the cores of the largest machine, got 16"):
        list(outcomes_on_ray(Outcome, ["cap"], 16))


def test_without_products_no_cluster_is_asked_for() -> None:
    assert list(outcomes_on_ray(Outcome, [], 1)) == []


@pytest.mark.slow
def test_a_killed_process_is_repeated_on_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def train(product: str) -> Outcome:
        import torch

        if product == "nut" and not Path("begun").exists():
            Path("begun").touch()
            os._exit(1)
        return Outcome(product, training=torch.get_num_threads(), checkpoint=str(Path.cwd()))

    ray.init("local", num_cpus=2, object_store_memory=100 * 2**20, include_dashboard=False, log_to_driver=False)
    try:
        found = dict(outcomes_on_ray(train, ["cap", "nut"], 2))
    finally:
        ray.shutdown()
    assert Path("begun").exists()
    expected = {"training": 2, "checkpoint": str(tmp_path)}
    assert found == {name: Outcome(name, **expected) for name in ("cap", "nut")}
