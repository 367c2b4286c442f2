# SPDX-License-Identifier: Apache-2.0
"""The record itself."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rd_plugin.provenance import (
    RECORD_KEY,
    Provenance,
    hash_weights,
    installed_versions,
    record,
    record_file,
    write_record,
)

RECORD = Provenance(
    method="ReverseDistillation",
    arguments={
        "backbone": "resnet18.a1_in1k",
        "layers": ("layer1", "layer2"),
        "bottleneck": "oce",
        "score": 0.01,
        "pre_trained": Path("weights.pth"),
        "learning_rate": 0.005,
    },
    input_size=[64, 96],
    steps=7,
)


def changed(**arguments: object) -> Provenance:
    return replace(RECORD, arguments={**RECORD.arguments, **arguments})


def check(model: Provenance, methods: tuple[str, ...] = ("ReverseDistillation",)) -> None:
    RECORD.check_fits(model, methods)


def test_a_checkpoint_gives_back_its_record_without_running_code(tmp_path: Path) -> None:
    torch.save({RECORD_KEY: RECORD.plain()}, tmp_path / "model.ckpt")
    again = Provenance.of(torch.load(tmp_path / "model.ckpt", weights_only=True))
    assert again.plain() == RECORD.plain()
    assert again.arguments["layers"] == ["layer1", "layer2"]
    assert again.arguments["pre_trained"] == "weights.pth"


@pytest.mark.parametrize("checkpoint", [{}, {RECORD_KEY: None}, {RECORD_KEY: "record"}])
def test_a_checkpoint_without_a_record(checkpoint: dict) -> None:
    assert Provenance.of(checkpoint) is None


def test_records_of_other_versions() -> None:
    assert Provenance.of({RECORD_KEY: {"steps": 3, "weather": "fair"}}) == Provenance(steps=3)


@pytest.mark.parametrize(
    "model",
    [
        RECORD,
        changed(layers=["layer1", "layer2"], learning_rate=1.0, pre_trained=True),
        # Tags name weights.
        changed(backbone="resnet18"),
        changed(backbone="resnet18.tv_in1k"),
        Provenance(),
    ],
)
def test_what_may_differ(model: Provenance, caplog: pytest.LogCaptureFixture) -> None:
    check(model)
    assert not caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbone": "resnet34"}, "backbone 'resnet18.a1_in1k' in the checkpoint, 'resnet34' in the model"),
        ({"layers": ["layer1"]}, "layers ['layer1', 'layer2'] in the checkpoint, ['layer1'] in the model"),
        ({"bottleneck": "none"}, "bottleneck 'oce' in the checkpoint, 'none' in the model"),
    ],
)
def test_what_must_agree(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match="does not fit the model") as caught:
        check(changed(**arguments))
    assert f": {message}. Build the model with the checkpoint's" in str(caught.value)


def test_all_that_differs_is_named_at_once() -> None:
    other = replace(changed(backbone="resnet34", bottleneck="none"), method="Other")
    with pytest.raises(
        ValueError, match=r"method 'ReverseDistillation' .* 'Other' .*; backbone .*; bottleneck "
    ) as error:
        check(other, ("Other",))
    assert "score" not in str(error.value)


def test_subclass_is_of_the_same_method() -> None:
    check(replace(RECORD, method="Mine"), ("Mine", "ReverseDistillation", "Distillation"))


def test_thresholds_of_another_score(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        check(changed(score="max"))
    assert "thresholds do not fit the model: score 0.01 in the checkpoint, 'max' in the model." in caplog.text


def test_hash_does_not_hang_on_order_layout_or_counters() -> None:
    weights = {"a": torch.randn(2, 3, 4, 4), "b": torch.tensor(1.0)}
    expected = hash_weights(weights)
    layout = weights["a"].contiguous(memory_format=torch.channels_last)
    assert hash_weights({"n": torch.tensor(5), "b": weights["b"], "a": layout}) == expected


@pytest.mark.parametrize(
    "other",
    [
        {"a": torch.tensor([1.0, 2.5])},
        {"b": torch.tensor([1.0, 2.0])},
        {"a": torch.tensor([[1.0, 2.0]])},
        {"a": torch.tensor([1.0, 2.0], dtype=torch.bfloat16)},
        {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor(0.0)},
    ],
)
def test_hash_tells_weights_apart(other: dict[str, torch.Tensor]) -> None:
    assert hash_weights(other) != hash_weights({"a": torch.tensor([1.0, 2.0])})


def test_versions_of_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "_PACKAGES", ("torch", "no-such-package"))
    versions = installed_versions()
    assert versions.keys() == {"python", "platform", "torch"}
    assert torch.__version__.startswith(versions["torch"])


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "model.onnx", "model.xml", "model"])
def test_place_of_the_record(name: str) -> None:
    assert record_file(Path("weights") / name) == Path("weights/model.json")


def test_record_is_written_as_json(tmp_path: Path) -> None:
    write_record(tmp_path / "model.json", RECORD.plain())
    assert json.loads((tmp_path / "model.json").read_text()) == RECORD.plain()
