# SPDX-License-Identifier: Apache-2.0
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from anomalib import metrics as anomalib_metrics
from anomalib.data import ImageBatch
from anomalib.post_processing import PostProcessor
from lightning.pytorch import Callback, LightningModule, Trainer
from sklearn.metrics import f1_score, roc_auc_score
from torch.utils.data import DataLoader

from rd_plugin import ReverseDistillation
from rd_plugin.evaluator import AUPRO, DistillationEvaluator

from .models.base import SMALL
from .trainers import quiet_trainer

IMAGE = {"image_AUROC", "image_F1Score"}
PIXEL = {"pixel_AUROC", "pixel_F1Score", "pixel_AUPRO"}
LEFT_OUT = "left out"


def batch(masks: bool, labels: tuple[bool, ...] = (False, True, False, True)) -> ImageBatch:
    labels = torch.tensor(labels)
    mask = labels.reshape(-1, 1, 1).repeat(1, 32, 32)
    mask[..., :20] = False
    return ImageBatch(image=torch.rand(4, 3, 32, 32), gt_label=labels, gt_mask=mask if masks else None)


def build(**arguments: object) -> ReverseDistillation:
    torch.manual_seed(0)
    return ReverseDistillation(**SMALL, pre_processor=False, **arguments)


@pytest.fixture(scope="module")
def model() -> ReverseDistillation:
    # Normalization cuts scores off, which changes their order where a threshold is at the end of their range.
    return build(post_processor=PostProcessor(enable_normalization=False))


def measure(
    model: ReverseDistillation,
    batches: list[ImageBatch],
    tmp_path: Path,
    validated: bool = True,
    callbacks: Sequence[Callback] = (),
) -> dict[str, float]:
    trainer = quiet_trainer(tmp_path, callbacks=list(callbacks))
    loader = DataLoader(batches, batch_size=None)
    if validated:
        trainer.validate(model, loader, verbose=False)
    return trainer.test(model, loader, verbose=False)[0]


def test_masks_give_all_metrics(model: ReverseDistillation, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    metrics = measure(model, [batch(masks=True) for _ in range(2)], tmp_path)
    assert metrics.keys() == IMAGE | PIXEL
    assert all(0 <= value <= 1 for value in metrics.values())
    assert LEFT_OUT not in caplog.text


def test_no_masks_leave_pixel_metrics_out_with_one_warning(
    model: ReverseDistillation, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = measure(model, [batch(masks=False) for _ in range(3)], tmp_path)
    assert metrics.keys() == IMAGE
    warnings = [record.message for record in caplog.records if LEFT_OUT in record.message]
    assert len(warnings) == 1
    assert "no masks" in warnings[0]
    assert {name for name in IMAGE | PIXEL if name in warnings[0]} == PIXEL


def test_f1_is_left_out_without_a_threshold(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """anomalib's own is 1.0 then, or whatever the scores happen to make of it."""
    metrics = measure(build(), [batch(masks=True)], tmp_path, validated=False)
    assert metrics.keys() == {"image_AUROC", "pixel_AUROC", "pixel_AUPRO"}
    assert "image_F1Score (no threshold), pixel_F1Score (no threshold)" in caplog.text


@pytest.mark.parametrize("label", [False, True])
def test_metrics_that_need_two_classes_are_left_out_on_one(
    model: ReverseDistillation,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    label: bool,
) -> None:
    metrics = measure(model, [batch(masks=True, labels=(label,) * 4)] * 2, tmp_path)
    # A mask of an anomalous image holds normal pixels, too.
    assert metrics.keys() == (PIXEL if label else set())
    warnings = [record.message for record in caplog.records if LEFT_OUT in record.message]
    assert len(warnings) == 1
    assert "not both normal and anomalous" in warnings[0]


def test_one_model_measures_data_with_and_without_masks_in_turn(model: ReverseDistillation, tmp_path: Path) -> None:
    for masks in (True, False, True):
        assert measure(model, [batch(masks)], tmp_path).keys() == (IMAGE | PIXEL if masks else IMAGE)


class Seen(Callback):
    """Keep what the model says of each batch."""

    def __init__(self) -> None:
        self.batches: list[ImageBatch] = []

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: ImageBatch, *_: object) -> None:
        del trainer, pl_module
        self.batches.append(outputs)


def test_auroc_is_that_of_the_models_scores(model: ReverseDistillation, tmp_path: Path) -> None:
    # What metrics that are left out have seen is forgotten.
    measure(model, [batch(masks=True, labels=(True,) * 4)] * 2, tmp_path)
    seen = Seen()
    metrics = measure(model, [batch(masks=True) for _ in range(4)], tmp_path, callbacks=[seen])
    labels, scores, masks, maps = (
        torch.cat([getattr(part, name).flatten() for part in seen.batches])
        for name in ("gt_label", "pred_score", "gt_mask", "anomaly_map")
    )
    assert len(scores.unique()) > 1
    assert metrics["image_AUROC"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-5)
    assert metrics["pixel_AUROC"] == pytest.approx(roc_auc_score(masks, maps), abs=1e-5)


def test_a_mask_that_marks_everything_counts_as_everything_in_aupro() -> None:
    maps = torch.rand(3, 1, 16, 16)
    masks = torch.zeros(3, 16, 16, dtype=torch.bool)
    masks[1, 4:8, 4:8], masks[2] = True, True
    # A map that is right everywhere.
    perfect = ImageBatch(image=torch.rand(3, 3, 16, 16), gt_mask=masks, anomaly_map=masks[:, None].float())
    metric = AUPRO(fields=["anomaly_map", "gt_mask"], prefix="pixel_")
    metric.update(perfect)
    assert metric.compute() == 1
    # Regions without a border are as anomalib has them.
    ours, theirs = metric, anomalib_metrics.AUPRO(fields=["anomaly_map", "gt_mask"], prefix="pixel_")
    ours.reset()
    for each in (ours, theirs):
        each.update(ImageBatch(image=torch.rand(2, 3, 16, 16), gt_mask=masks[:2], anomaly_map=maps[:2]))
    assert ours.compute() == theirs.compute()
    assert ours.name == theirs.name == "pixel_AUPRO"


# The left half of an image.
REGION = {"width": 32, "height": 32, "polygons": [[[0, 0], [16, 0], [16, 32], [0, 32]]]}


@pytest.fixture(scope="module")
def half() -> ReverseDistillation:
    return build(roi=REGION)


def test_pixels_outside_the_region_do_not_count(
    half: ReverseDistillation, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    batches = [batch(masks=True) for _ in range(3)]
    seen = Seen()
    for each in batches:
        # Half of each defect is outside.
        each.gt_mask[..., 8:] |= each.gt_label.reshape(-1, 1, 1)
    metrics = measure(half, batches, tmp_path, callbacks=[seen])
    masks, maps, found = (
        torch.cat([getattr(part, name).reshape(-1, 32, 32)[..., :16] for part in seen.batches])
        for name in ("gt_mask", "anomaly_map", "pred_mask")
    )
    assert metrics["pixel_AUROC"] == pytest.approx(roc_auc_score(masks.flatten(), maps.flatten()), abs=1e-5)
    assert metrics["pixel_F1Score"] == pytest.approx(f1_score(masks.flatten(), found.flatten()), abs=1e-5)
    # A metric of the left half alone, as if images ended there.
    alone = AUPRO(fields=["anomaly_map", "gt_mask"])
    alone.update(ImageBatch(image=torch.rand(12, 3, 32, 16), gt_mask=masks, anomaly_map=maps))
    assert metrics["pixel_AUPRO"] == pytest.approx(float(alone.compute()), abs=1e-6)
    assert "outside the region" not in caplog.text
    # Thresholds, too, are those of the pixels inside.
    validated = half.post_processor.pixel_threshold
    other = [replace(each, gt_mask=each.gt_mask.clone()) for each in batches]
    for each in other:
        each.gt_mask[..., 16:] = False
    assert measure(half, other, tmp_path) == pytest.approx(metrics)
    assert half.post_processor.pixel_threshold == validated


def test_images_whose_defect_is_outside_the_region_are_counted(
    half: ReverseDistillation, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # The defects of these masks are on the right.
    metrics = measure(half, [batch(masks=True)] * 2, tmp_path)
    assert metrics.keys() == IMAGE
    told = "The defect of 4 images is completely outside the region of interest (roi)"
    assert [told in record.message for record in caplog.records].count(True) == 1
    assert "pixel_AUROC (not both normal and anomalous masks)" in caplog.text


def test_processes_log_the_same_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though one has seen good images alone, and no mask."""
    evaluator, trainer = DistillationEvaluator(), SimpleNamespace(world_size=2)
    evaluator._seen = {"gt_label": {False}}

    def gather(found: list, own: dict) -> None:
        found[:] = [own, {"": ({"gt_label": {False, True}, "gt_mask": {False, True}}, 1)}]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    evaluator._share_seen(trainer)
    assert evaluator._seen == {"gt_label": {False, True}, "gt_mask": {False, True}}
    assert evaluator._hidden == 1
