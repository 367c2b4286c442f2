# SPDX-License-Identifier: Apache-2.0
"""The alignment is fitted before the first step, once, and training images go through it."""

import logging
from pathlib import Path

import pytest
import torch
from anomalib.data import ImageBatch, ImageItem
from torch import Tensor
from torch.utils.data import DataLoader

from rd_plugin import ReverseDistillation
from rd_plugin.models.distillation import Distillation

from ...moved_parts import parts, view
from ..trainers import quiet_trainer

SMALL = {"backbone": "test_resnet", "layers": ["layer1"], "pre_trained": False, "visualizer": False, "image_size": 32}


def _fit(images: Tensor, folder: Path, model: Distillation | None = None, **arguments: object) -> Distillation:
    model = model or ReverseDistillation(**SMALL, align="translation")
    items = [ImageItem(image=image, image_path=f"{index}.png") for index, image in enumerate(images)]
    loader = DataLoader(items, 3, shuffle=True, collate_fn=ImageBatch.collate)
    quiet_trainer(folder, max_epochs=2, limit_val_batches=0, **arguments).fit(model, loader)
    return model


def _moved() -> Tensor:
    """Images of one part, every third of them moved."""
    canvases = parts(6).split(1)
    places = [(12, -8) if index % 3 == 0 else (0, 0) for index in range(len(canvases))]
    return (0.5 * torch.cat([view(one, *place) for one, place in zip(canvases, places, strict=True)]) + 0.2).clamp(0, 1)


def test_training_images_are_aligned(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, seen = ReverseDistillation(**SMALL, align="translation"), {}

    def step(batch: ImageBatch, *_: object) -> Tensor:
        seen.update(zip(batch.image_path, batch.image, strict=True))
        return ReverseDistillation.training_step(model, batch)

    monkeypatch.setattr(model, "training_step", step)
    with caplog.at_level(logging.INFO):
        _fit(_moved(), tmp_path, model)
    assert "100 % of 6 training images are registered" in caplog.text
    # Aligned images are the same, bit for bit, in every epoch.
    assert "feature cache is off" not in caplog.text
    with torch.no_grad():
        shifts = model.model.alignment(torch.stack([seen[f"{index}.png"] for index in range(6)])).shift
        before = model.model.alignment(model.pre_processor(_moved())).shift
    assert before.abs().max() > 1.5
    assert shifts.abs().max() < 0.5


def test_it_is_fitted_once(tmp_path: Path) -> None:
    model = _fit(_moved(), tmp_path)
    templates = model.model.alignment.templates.clone()
    _fit(_moved().flip(3), tmp_path, model)
    assert torch.equal(model.model.alignment.templates, templates)


def test_images_that_cannot_be_registered_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        # Each of a few would correlate with their mean, which it is a part of.
        _fit(torch.rand(30, 3, 32, 32), tmp_path)
    assert "others are inspected as they are" in caplog.text


def test_images_that_could_not_be_registered_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = _fit(_moved(), tmp_path)
    images = torch.cat([_moved(), torch.full_like(_moved()[:1], 0.5)])
    items = [ImageItem(image=image, image_path=f"{index}.png") for index, image in enumerate(images)]
    loader = DataLoader(items, 3, collate_fn=ImageBatch.collate)
    for _ in range(2):
        caplog.clear()
        quiet_trainer(tmp_path).predict(model, loader)
        assert [message for message in caplog.messages if "registered" in message] == [
            "Images that could not be registered, and are inspected as they are: 1 (6.png)."
        ]


def test_a_model_without_alignment_has_nothing_of_it(tmp_path: Path) -> None:
    model = _fit(_moved(), tmp_path, ReverseDistillation(**SMALL))
    assert model.model.alignment is None
    assert not [name for name in model.state_dict() if "alignment" in name]
