# SPDX-License-Identifier: Apache-2.0
"""Actors of Ray in this process; for a cluster see tests/unit/commands/test_on_ray.py."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rd_plugin.inspection import Inspector, model_files, ray_engine
from rd_plugin.results import results_of

ray = pytest.importorskip("ray")
pa = pytest.importorskip("pyarrow")


def test_an_actor_inspects_as_an_inspector_does(
    save: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "get", lambda content: content)
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for index in range(3):
        Image.fromarray(rng.integers(0, 256, (4, 5, 3), np.uint8)).save(f"{index}.png")
    model = save()
    files = {file.name: file.read_bytes() for file in model_files(model)}
    actor = ray_engine.InspectingActor(files, model.name, {"threads": 1, "workers": 1, "product": "p"}, ".")
    names = ["2.png", "none", "0.png"]
    missing = ["", "the folder contains no image.", ""]
    found = actor(pa.table({"position": [7, 8, 9], "path": names, "missing": missing}))
    assert found["position"].to_pylist() == [7, 8, 9]
    scores = {result.path: result.score for result in Inspector(model, threads=1)(["0.png", "2.png"])}
    rows = list(results_of(found))
    assert [(row.path, row.score) for row in rows] == [(name, scores.get(name)) for name in names]
    assert rows[1].reason == "the folder contains no image."
    assert {row.product for row in rows} == {"p"}


@pytest.mark.parametrize(
    ("machines", "asked", "expected"),
    [
        ([{"CPU": 8.0}], (None, None, False), (1, 8)),
        ([{"CPU": 8.0}], (2, None, False), (2, 4)),
        ([{"CPU": 8.0}, {"CPU": 4.0}, {"CPU": 0.0}], (None, None, False), (2, 4)),
        ([{"CPU": 8.0}, {"CPU": 4.0}], (None, 3, False), (3, 3)),
        ([{"CPU": 8.0, "GPU": 2.0}, {"CPU": 8.0, "GPU": 2.0}], (None, None, True), (4, 4)),
    ],
)
def test_actors_share_the_cores(
    machines: list[dict], asked: tuple, expected: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = {"Alive": False, "Resources": {"CPU": 64.0}}
    monkeypatch.setattr(ray, "nodes", lambda: [dead, *({"Alive": True, "Resources": each} for each in machines)])
    assert ray_engine._shares(*asked) == expected


def test_a_cluster_without_places_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 2.0}}])
    with pytest.raises(ValueError, match="actors need 4 cores each; the machines have 2 cores, and 0 GPUs"):
        ray_engine._shares(None, 4, on_gpu=False)
    with pytest.raises(ValueError, match="actors need 1 cores each and a GPU; the machines have 2 cores, and 0 GPUs"):
        ray_engine._shares(None, None, on_gpu=True)


def test_address_of_a_cluster_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def connect(address: str, **options: object) -> None:
        asked.append((address, options))
        if address == "local" and len(asked) == 2:
            msg = "too slow"
            raise Exception(msg)  # noqa: TRY002  # as Ray does
        if address != "local":
            msg = "nobody answers"
            raise ConnectionError(msg)

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", connect)
    monkeypatch.setattr(ray, "shutdown", lambda: asked.append(("shutdown", {})))
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with pytest.raises(OSError, match=r"RAY_ADDRESS '10.0.0.1:6379': no Ray cluster answers"), ray_engine.ray_cluster():
        pass
    monkeypatch.delenv("RAY_ADDRESS")
    with pytest.raises(OSError, match=r"Ray could not be started \(too slow\)"), ray_engine.ray_cluster():
        pass
    with ray_engine.ray_cluster(quiet=True):
        pass
    assert [address for address, _ in asked] == ["10.0.0.1:6379", "local", "local", "shutdown"]
    assert asked[0][1] == {"logging_level": logging.WARNING, "log_to_driver": True}
    assert asked[2][1]["log_to_driver"] is False
