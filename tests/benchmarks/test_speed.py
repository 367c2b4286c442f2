# SPDX-License-Identifier: Apache-2.0
"""Speeds: what is asked for, by which clock, and how it is shown; they are measured in test_studies.py."""

import asyncio
from argparse import Namespace
from itertools import count
from pathlib import Path

import httpx
import pandas as pd
import pytest
import torch

from benchmarks.common.grid import Machine
from benchmarks.common.records import write
from benchmarks.speed import archive, serve, timing, transformers
from benchmarks.speed.teachers import SIDES, inference, training_step
from rd_plugin.comparison import methods


def test_turns_are_timed_by_the_clock_that_is_given() -> None:
    seconds = count(step=1)
    found = timing.take_turns({"a": int, "b": int}, 3, warm_up=1, clock=lambda: float(next(seconds)))
    assert found == {"a": [1000.0] * 3, "b": [1000.0] * 3}


@pytest.mark.parametrize("side", SIDES)
def test_a_step_trains_and_an_image_is_inspected(side: str) -> None:
    """Both sides do the same, in the order in which a run does it."""
    model = methods.build(SIDES[side], {"evaluator": False}, "vit_small_patch14_reg4_dinov2", "false", 28)
    before = {name: value.clone() for name, value in model.named_parameters()}
    training_step(model, 28, 2, kept=False)()
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert changed == {name for name, value in model.named_parameters() if value.requires_grad}
    inference(model, 28, 1)()
    assert not model.training


def test_tables_stand_side_by_side(tmp_path: Path) -> None:
    about = {"turns": 3, "clock": "processor", "device": "CPU", "threads": 1, "torch": "2"}
    beside = {"row": "one image, torch", "unit": "ms", "ours": 2.0, "theirs": 3.0, "ratio": 1.5}
    write(tmp_path / "t.parquet", {"what": "dinomaly/image", **about}, [{**beside, "commit": "abc"}])
    teachers = [
        {"column": "one image, torch", "teacher": name, "ms": ms, "multiple": ms / 10, "commit": "abc"}
        for name, ms in (("ResNet-18, 256 px", 10.0), ("ViT-S/14, 252 px", 55.0))
    ]
    write(tmp_path / "t.parquet", {"what": "teachers/image", **about}, teachers)
    shown = transformers.show(pd.read_parquet(tmp_path / "t.parquet")).splitlines()
    assert "| one image, torch | 2.0 | 3.0 | ms | 1.50 |" in shown
    assert "| ViT-S/14, 252 px | 55 | 5.5 |" in shown


def test_each_comparison_is_a_cell(tmp_path: Path) -> None:
    options = Namespace(turns=3, batch=4, calibration=2, device="cpu", threads=1, records=tmp_path)
    names = [cell.name for cell in transformers.grid(options)]
    assert names == [
        "dinomaly/step of 4",
        "dinomaly/step of 4, features kept",
        "dinomaly/one image, torch",
        "dinomaly/one image, OpenVINO float32",
        "teachers/step",
        "teachers/step, features kept",
        "teachers/image",
        "teachers/OpenVINO float32",
        "teachers/OpenVINO INT8_PTQ",
    ]


def test_an_archive_is_inspected_each_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.xml").touch()
    (tmp_path / "model.json").write_text('{"method": "Fused", "arguments": {"backbone": "lite"}}')
    options = Namespace(what=["rate", "memory"], model=tmp_path / "model.xml", side=8, images=30, many=300, turns=3)
    monkeypatch.setattr(archive.command, "machine", lambda _: Machine("cpu", 2))
    rates, memory = archive.grid(options)
    inspected = []

    def measure(model: Path, parts: Path, way: str, threads: int, rows: Path) -> dict[str, float]:
        del model, threads
        inspected.append((way, len(list(parts.iterdir()))))
        assert not rows.exists()
        return {"rate": float(len(inspected)), "first": 1.0, "whole": 2.0, "memory": 500.0}

    monkeypatch.setattr(archive, "_measure", measure)
    rows = [{**cell.settings, **row, "commit": "abc"} for cell in (rates, memory) for row in cell.compute()]
    ways = list(archive._WAYS)
    assert inspected == [(way, 30) for way in ways] * 3 + [(way, count) for count in (30, 300) for way in ways[:2]]
    shown = archive.show(pd.DataFrame(rows))
    assert "| Fused, lite | one process | 30 | 4.0 | 1.0 | 2.0 | 500 |" in shown
    assert "| model | way | 30 images, MiB | 300 images, MiB |" in shown
    assert "| Fused, lite | Ray, 1 actor | 500 | 500 |" in shown
    with pytest.raises(ValueError, match="there is no model None"):
        archive.grid(Namespace(model=None))


@pytest.mark.parametrize(("clients", "broken"), [(1, False), (5, False), (3, True)])
def test_every_image_of_a_load_is_answered(clients: int, broken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server refuses every third request, and finds one of four images damaged."""
    monkeypatch.setattr(serve, "_PAUSE", 0.0)
    asked = count(1)

    def answer(request: httpx.Request) -> httpx.Response:
        if next(asked) % 3 == 0:
            return httpx.Response(503)
        return httpx.Response(500 if broken else 422 if request.content == b"3" else 200)

    async def run() -> dict:
        transport = httpx.MockTransport(answer)
        async with httpx.AsyncClient(base_url="http://station", transport=transport) as client:
            return await serve.load(client, [b"0", b"1", b"2", b"3"], clients, 40)

    if broken:
        with pytest.raises(RuntimeError, match=r"answered with status \{500\}"):
            asyncio.run(run())
        return
    found = asyncio.run(run())
    assert (found["images"], found["damaged"], found["refused"]) == (40, 10, 19)
    assert 0 < found["p50"] <= found["p99"]
    beside = {"load": "inspect", "images": 20, "rate": 7.5, "device": "CPU", "threads": 2, "torch": "2", "commit": "a"}
    served = {**beside, **found, "load": "clients", "before": 200.0, "after": 201.0}
    shown = serve.show(pd.DataFrame([beside, served]))
    assert "| inspect | 20 |" in shown
    assert "| 200 | 201 |" in shown
