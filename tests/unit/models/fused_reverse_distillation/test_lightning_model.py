# SPDX-License-Identifier: Apache-2.0
import logging
from pathlib import Path

import pytest
import torch
from anomalib.data import ImageBatch, ImageItem
from torch.utils.data import DataLoader

from rd_plugin import FusedReverseDistillation

from ....unit.trainers import quiet_trainer
from .. import base
from ..base import SlowCacheTests, train

SMALL = {**base.SMALL, "on_bad_data": "off", "image_size": 64}


def fit(folder: Path, images: torch.Tensor, validation: torch.Tensor, labels: torch.Tensor, **arguments: object):
    torch.manual_seed(0)
    model = FusedReverseDistillation(**{**SMALL, **arguments})
    items = [ImageItem(image=image, image_path=f"{index}.png") for index, image in enumerate(images)]
    quiet_trainer(folder, max_epochs=1).fit(
        model,
        DataLoader(items, 4, collate_fn=ImageBatch.collate),
        DataLoader([ImageBatch(image=validation, gt_label=labels)], batch_size=None),
    )
    return model


def good(count: int = 16) -> torch.Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(1))


class TestFusedReverseDistillation(SlowCacheTests):
    method = FusedReverseDistillation
    limits = (-1, 400)
    losses = {"train_loss"}  # noqa: RUF012


@pytest.mark.slow
def test_nothing_is_learned_from_labels_or_images_that_are_not_trained_on(tmp_path: Path) -> None:
    images = torch.rand(4, 3, 64, 64)
    labels = torch.tensor([False, False, True, True])
    # Fusion that looked at either would come to another result.
    runs = [fit(tmp_path, good(), *validation) for validation in ((images, labels), (images.flip(0) / 2, ~labels))]
    first, other = [
        {name: value for name, value in run.model.state_dict().items() if value.is_floating_point()} for run in runs
    ]
    assert {
        "evidence.teacher.shrinkage",
        "evidence.image.mean",
        "fusion.weights",
        "brightness.strength",
    } <= first.keys()
    assert all(torch.equal(first[name], value) for name, value in other.items())


def test_settings_are_logged_and_recorded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    validation = torch.rand(2, 3, 64, 64), torch.tensor([False, True])
    model = fit(tmp_path, good(), *validation, brightness=0.25)
    learned = model.describe().plain()["learned"]
    assert learned["brightness_strength"] == 0.25
    assert set(learned["weights"]) == {"teacher", "region", "residual", "cosine", "context", "image"}
    assert sum(learned["weights"].values()) == pytest.approx(1, abs=1e-3)
    # Of residual and cosine.
    assert (model.model.evidence.contrast.usual > 0).tolist() == [True, True]
    weights = model.model.evidence.positions.weights
    assert weights.shape[0] == 6
    assert ((weights > 0) & (weights <= 1)).all()
    assert learned["position_weights"]["image"] == 1
    assert learned["position_weights"]["teacher"] == pytest.approx(weights[0].mean().item(), abs=1e-3)
    (line,) = [text for text in caplog.messages if text.startswith("Weights of the kinds of evidence, fitted to")]
    logged = dict(part.split(" ") for part in line.rstrip(".").partition(": ")[2].split(", "))
    assert {kind: float(weight) for kind, weight in logged.items()} == pytest.approx(learned["weights"], rel=0.1)
    assert FusedReverseDistillation(**SMALL).describe().learned == {}


@pytest.mark.slow
def test_brightness_is_normalized_where_normal_images_differ_in_it_alone(tmp_path: Path) -> None:
    pattern = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)) / 2
    noise = 0.02 * torch.rand(32, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    light = torch.linspace(0.4, 1.6, 32)[torch.randperm(32, generator=torch.Generator().manual_seed(3))]
    validation = torch.rand(2, 3, 64, 64), torch.tensor([False, True])
    model = fit(tmp_path, (pattern + noise) * light.view(-1, 1, 1, 1), *validation)
    assert model.model.brightness.strength == 1
    # Parts of any size on one background: evening would change the background from image to image.
    parts = torch.full((32, 3, 64, 64), 0.3) + noise
    for index, side in enumerate(torch.linspace(8, 60, 32).int()[torch.randperm(32)].tolist()):
        parts[index, :, :side] = 0.9 + noise[index, :, :side]
    model = fit(tmp_path, parts, *validation)
    assert model.model.brightness.strength < 1


@pytest.mark.slow
def test_resumed_training_keeps_the_brightness(tmp_path: Path) -> None:
    model = FusedReverseDistillation(**SMALL)
    trainer = train(model, tmp_path, max_steps=1)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    resumed = FusedReverseDistillation(**SMALL)
    resumed_trainer = quiet_trainer(tmp_path, max_steps=2)
    loader = DataLoader(
        [ImageBatch(image=torch.rand(2, 3, 32, 32) / 9, gt_label=torch.zeros(2).bool())], batch_size=None
    )
    resumed_trainer.fit(resumed, loader, loader, ckpt_path=tmp_path / "model.ckpt", weights_only=False)
    assert torch.equal(resumed.model.brightness.reference, model.model.brightness.reference)
    assert resumed.model.evidence.is_fitted


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"brightness": 2}, r"brightness must be 'auto' or a strength in \[0, 1\], got 2"),
        ({"deviation": "mahalanobis"}, "deviation 'mahalanobis': this model fuses all evidence itself"),
        ({"anomaly_map_mode": "multiply"}, "anomaly_map_mode 'multiply': this model fuses"),
    ],
)
def test_arguments_out_of_range(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FusedReverseDistillation(**SMALL, **arguments)
