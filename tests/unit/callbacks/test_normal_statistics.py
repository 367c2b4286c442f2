# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pandas as pd
import pytest
import torch
from anomalib.data import ImageBatch, ImageItem
from torch.utils.data import DataLoader

from rd_plugin import ExpertReverseDistillation, ReverseDistillation
from rd_plugin.components import MahalanobisDeviation
from rd_plugin.models.distillation import Distillation, DistillationModel

from ..trainers import quiet_trainer

pytestmark = pytest.mark.usefixtures("small_noise")
IMAGES = 6
EPOCHS = 3


def build(method: type[Distillation], **arguments: object) -> Distillation:
    small = {"backbone": "test_resnet", "layers": ["layer1"], "pre_trained": False, "visualizer": False}
    return method(**small, pre_processor=False, deviation="mahalanobis", **arguments)


def fit(model: Distillation, folder: Path, kind: type[list] = list, **limits: int) -> torch.Tensor:
    """Train a model on a list of some kind; return all training images."""
    torch.manual_seed(0)
    items = kind(ImageItem(image=torch.rand(3, 32, 32), image_path=f"{index}.png") for index in range(IMAGES))
    quiet_trainer(folder, max_epochs=EPOCHS, **{"num_sanity_val_steps": 0, **limits}).fit(
        model,
        DataLoader(items, 2, shuffle=True, collate_fn=ImageBatch.collate),
        DataLoader([ImageBatch(image=torch.rand(2, 3, 32, 32), gt_label=torch.tensor([False, True]))], batch_size=None),
    )
    return torch.stack([item.image for item in items])


def statistics_of(network: DistillationModel, images: torch.Tensor) -> MahalanobisDeviation:
    """The statistics that a network should have, in evaluation mode."""
    expected = MahalanobisDeviation([64])
    with torch.no_grad():
        expected.update(*network.eval().distill(images))
        expected.compute()
    return expected


@pytest.mark.parametrize("limit_val_batches", [0, 1])
@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        (ReverseDistillation, {}),
        (ReverseDistillation, {"feature_cache": "off"}),
        (ExpertReverseDistillation, {"train_teacher": True}),
        (ExpertReverseDistillation, {"train_teacher": False}),
    ],
)
def test_statistics_are_those_of_all_images_and_the_last_weights(
    tmp_path: Path, method: type[Distillation], arguments: dict, limit_val_batches: int
) -> None:
    model = build(method, **arguments)
    images = fit(model, tmp_path, limit_val_batches=limit_val_batches)
    network, expected = model.model, statistics_of(model.model, images)
    with torch.no_grad():
        (actual,), (wanted,) = network.deviation.scales, expected.scales
        torch.testing.assert_close(actual.mean, wanted.mean, rtol=1e-3, atol=1e-5)
        # Not the factors of the covariances, in which six images leave most directions to rounding.
        features = network.distill(torch.rand(4, 3, 32, 32))
        torch.testing.assert_close(network.deviation(*features), expected(*features), rtol=1e-2, atol=0)


@pytest.mark.parametrize(("feature_cache", "asked"), [("memory", IMAGES), ("off", 2 * EPOCHS * IMAGES)])
def test_frozen_teacher_is_asked_for_features_that_are_not_kept(tmp_path: Path, feature_cache: str, asked: int) -> None:
    model = build(ReverseDistillation, feature_cache=feature_cache)
    seen = []
    model.model.teacher.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    fit(model, tmp_path, limit_val_batches=0)
    assert sum(seen) == asked


@pytest.mark.parametrize(("feature_cache", "reads"), [("memory", EPOCHS), ("off", 2 * EPOCHS)])
def test_no_image_is_read_again_whose_features_are_kept(tmp_path: Path, feature_cache: str, reads: int) -> None:
    """The statistics are the same."""
    counts: list[int] = []

    class Images(list):
        samples = pd.DataFrame({"image_path": [f"{index}.png" for index in range(IMAGES)]})

        def __getitem__(self, index: int) -> ImageItem:
            counts.append(index)
            return super().__getitem__(index)

    model = build(ReverseDistillation, feature_cache=feature_cache)
    # One validation, at the end.
    images = fit(model, tmp_path, Images, check_val_every_n_epoch=EPOCHS)
    assert len(counts) == reads * IMAGES
    actual, expected = model.model.deviation, statistics_of(model.model, images)
    torch.testing.assert_close(actual.scales[0].mean, expected.scales[0].mean, rtol=1e-3, atol=1e-5)


def test_validation_before_the_training(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="num_sanity_val_steps is 2, and deviation 'mahalanobis' cannot predict"):
        fit(build(ReverseDistillation), tmp_path, limit_val_batches=1, num_sanity_val_steps=2)
