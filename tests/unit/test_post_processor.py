# SPDX-License-Identifier: Apache-2.0
import logging
from pathlib import Path

import onnxruntime
import openvino
import pytest
import torch
from anomalib.data import ImageBatch, InferenceBatch
from anomalib.post_processing import PostProcessor
from PIL import Image

from rd_plugin.post_processor import DistillationPostProcessor, false_alarm_threshold
from rd_plugin.results import RegionRules


@pytest.mark.parametrize(
    ("count", "rate", "above", "expected"),
    [(99, 0.05, 4, 0.05), (100, 0.05, 4, 5 / 101), (19, 0.05, 0, 0.05), (9, 0.05, 0, 0.1), (1, 0.5, 0, 0.5)],
)
def test_threshold_is_an_order_statistic(count: int, rate: float, above: int, expected: float) -> None:
    scores = torch.randperm(count).float()
    threshold, rate_to_expect, (low, high) = false_alarm_threshold(scores, rate)
    assert int((scores > threshold).sum()) == above
    assert rate_to_expect == pytest.approx(expected)
    assert low <= rate_to_expect <= high


@pytest.mark.parametrize("rate", [0.01, 0.05])
def test_expected_rate_and_interval_hold_for_new_images(rate: float) -> None:
    rates = []
    inside = 0
    for _ in range(400):
        threshold, expected, (low, high) = false_alarm_threshold(torch.randn(100), rate)
        rates.append(float((torch.randn(100) > threshold).float().mean()))
        inside += low - 1e-6 <= rates[-1] <= high + 1e-6
    assert sum(rates) / len(rates) == pytest.approx(expected, rel=0.15)
    assert inside / 400 > 0.93
    # Not by being too wide.
    assert high < 3 * expected + 0.03


def test_no_scores() -> None:
    with pytest.raises(ValueError, match="scores must hold at least one score of a normal image"):
        false_alarm_threshold(torch.empty(0), 0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": "otsu"}, "threshold must be 'auto', 'f1' or 'false_alarms', got 'otsu'"),
        ({"false_alarm_rate": 0.0}, "false_alarm_rate must be a fraction between 0 and 1, got 0.0"),
        ({"false_alarm_rate": 1.0}, "false_alarm_rate must be a fraction between 0 and 1, got 1.0"),
    ],
)
def test_arguments_out_of_range(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DistillationPostProcessor(**arguments)


def validated(scores: torch.Tensor, labels: torch.Tensor, **arguments: object) -> DistillationPostProcessor:
    """A post-processor after a validation in batches of 50; each map's peak is its image's score."""
    processor = DistillationPostProcessor(**arguments)
    maps = scores[:, None, None] * torch.tensor([[0.0, 0.5], [1.0, 0.2]])
    masks = labels[:, None, None].expand(-1, 2, 2)
    for part in torch.arange(len(scores)).split(50):
        batch = ImageBatch(
            image=torch.zeros(len(part), 3, 2, 2),
            gt_label=labels[part],
            gt_mask=masks[part],
            pred_score=scores[part],
            anomaly_map=maps[part],
        )
        processor.on_validation_batch_end(None, None, batch)
    processor.on_validation_epoch_end(None, None)
    return processor


GOOD = torch.linspace(1, 2, 200)
NORMAL = torch.zeros(200, dtype=torch.bool)


def test_good_images_alone_set_the_thresholds(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        processor = validated(GOOD, NORMAL, false_alarm_rate=0.05)
    expected, _, _ = false_alarm_threshold(GOOD, 0.05)
    assert processor.image_threshold == processor.pixel_threshold == expected
    assert "Thresholds set on 200 normal validation images, for a false-alarm rate of 0.05" in caplog.text
    assert "does not contain any anomalous images" not in caplog.text


def test_defects_are_not_cut_off_at_the_best_image() -> None:
    processor = validated(GOOD, NORMAL)
    scores = processor(InferenceBatch(pred_score=torch.tensor([[1.0], [2.0], [3.0], [4.0]]), anomaly_map=None))
    assert scores.pred_score.flatten().diff().min() > 0
    assert scores.pred_label.flatten().tolist() == [False, True, True, True]


@pytest.mark.parametrize("defects", [0, 200])
def test_scale_is_that_of_normal_images(defects: int) -> None:
    """The lowest score is a sixth, the threshold a half, whatever the defects."""
    scores = torch.cat([GOOD, GOOD[:defects] + 50])
    labels = torch.cat([NORMAL, ~NORMAL[:defects]])
    processor = validated(scores, labels, threshold="false_alarms")
    known = InferenceBatch(pred_score=torch.stack([GOOD[0], processor.image_threshold])[:, None], anomaly_map=None)
    assert processor(known).pred_score.flatten().tolist() == pytest.approx([1 / 6, 1 / 2], abs=1e-6)


def test_with_defects_thresholds_are_anomalibs() -> None:
    scores = torch.cat([GOOD, GOOD + 0.9])
    labels = torch.cat([NORMAL, ~NORMAL])
    ours, f1, alarms = (validated(scores, labels, threshold=kind) for kind in ("auto", "f1", "false_alarms"))
    assert ours.image_threshold == f1.image_threshold
    assert ours.pixel_threshold == f1.pixel_threshold
    assert alarms.image_threshold == false_alarm_threshold(GOOD, 0.01)[0]


def test_too_few_good_images_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        processor = validated(GOOD[:20], NORMAL[:20])
    assert processor.image_threshold == GOOD[19]
    assert "20 normal validation images are too few for a false-alarm rate of 0.01, which needs 99: " in caplog.text
    assert "Thresholds set on" not in caplog.text


def test_second_validation_forgets_the_first() -> None:
    processor = validated(GOOD, NORMAL)
    again = ImageBatch(image=torch.zeros(3, 3, 2, 2), gt_label=NORMAL[:3], pred_score=torch.tensor([5.0, 6.0, 7.0]))
    processor.on_validation_batch_end(None, None, again)
    processor.on_validation_epoch_end(None, None)
    assert processor.image_threshold == 7


def test_score_that_is_not_a_number_is_anomalous() -> None:
    processor = validated(GOOD, NORMAL)
    maps = torch.full((1, 1, 2, 2), torch.nan)
    result = processor(InferenceBatch(pred_score=torch.tensor([[torch.nan]]), anomaly_map=maps))
    assert result.pred_score.isnan().all()
    assert result.pred_label.all()
    assert result.pred_mask.all()


def test_checkpoint_keeps_the_arguments() -> None:
    restored = DistillationPostProcessor()
    restored.load_checkpoint_config(DistillationPostProcessor("f1", 0.2, image_sensitivity=0.3).checkpoint_config())
    assert (restored.threshold, restored.false_alarm_rate, restored.image_sensitivity) == ("f1", 0.2, 0.3)


def test_state_is_anomalibs() -> None:
    assert DistillationPostProcessor().state_dict().keys() == PostProcessor().state_dict().keys()


def test_single_good_image_gets_the_warning_of_two(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        processor = validated(GOOD[:1], NORMAL[:1])
    assert processor.image_threshold == processor.pixel_threshold == GOOD[0]
    assert "1 normal validation images are too few for a false-alarm rate of 0.01" in caplog.text


@pytest.mark.parametrize("lost", [torch.inf, -torch.inf, torch.nan])
@pytest.mark.parametrize("threshold", ["f1", "false_alarms"])
def test_scores_that_are_not_finite_are_left_out(lost: float, threshold: str, caplog: pytest.LogCaptureFixture) -> None:
    scores, labels = torch.cat([GOOD, GOOD + 0.9]), torch.cat([NORMAL, ~NORMAL])
    # In the midst of a batch, and a whole one.
    bad = torch.cat([torch.tensor([3]), torch.arange(150, 200), torch.tensor([399])])
    kept = torch.ones(400, dtype=torch.bool)
    kept[bad] = False
    expected = validated(scores[kept], labels[kept], threshold=threshold)
    spoiled = scores.clone()
    spoiled[bad] = lost
    with caplog.at_level(logging.WARNING):
        processor = validated(spoiled, labels, threshold=threshold)
    assert all(torch.equal(processor.state_dict()[name], value) for name, value in expected.state_dict().items())
    assert "52 of 400 validation images have scores that are not finite, and are left out" in caplog.text


def test_maps_that_are_not_finite_are_left_out_by_name(caplog: pytest.LogCaptureFixture) -> None:
    processor = DistillationPostProcessor()
    maps = torch.ones(2, 1, 2, 2)
    maps[1, 0, 1, 1] = torch.inf
    batch = ImageBatch(
        image=torch.zeros(2, 3, 2, 2),
        gt_label=NORMAL[:2],
        pred_score=torch.tensor([[1.0], [2.0]]),
        anomaly_map=maps,
        image_path=["a.png", "b.png"],
    )
    processor.on_validation_batch_end(None, None, batch)
    with caplog.at_level(logging.WARNING):
        processor.on_validation_epoch_end(None, None)
    assert processor.image_threshold == processor.pixel_threshold == 1
    assert "1 of 2 validation images have scores that are not finite" in caplog.text
    assert "the first is b.png." in caplog.text


def test_validation_without_a_finite_score_sets_nothing_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        processor = validated(torch.full((3,), torch.nan), NORMAL[:3])
    assert processor.image_threshold.isnan()
    assert "No validation image has a finite score: thresholds and range are not set." in caplog.text


@pytest.mark.parametrize("threshold", ["f1", "false_alarms"])
def test_equal_scores_have_no_range(threshold: str, caplog: pytest.LogCaptureFixture) -> None:
    labels = torch.arange(100) % 2 == 0
    with caplog.at_level(logging.WARNING):
        processor = validated(torch.full((100,), 2.0), labels, threshold=threshold)
    assert "All validation scores are 2, so their range is undefined" in caplog.text
    scores = torch.tensor([[1.0], [2.0], [3.0], [torch.nan], [torch.inf]])
    result = processor(InferenceBatch(pred_score=scores, anomaly_map=None))
    assert result.pred_score.isnan().flatten().tolist() == [False, False, False, True, False]
    assert result.pred_label.flatten().tolist() == [False, False, True, True, True]
    batch = ImageBatch(image=torch.zeros(5, 3, 2, 2), pred_score=scores)
    processor.post_process_batch(batch)
    assert batch.pred_label.flatten().tolist() == [False, False, True, True, True]


class Labelled(torch.nn.Module):
    """Scores as they are labelled, for an export."""

    def __init__(self, processor: DistillationPostProcessor) -> None:
        super().__init__()
        self.processor = processor

    def forward(self, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        result = self.processor(InferenceBatch(pred_score=scores, anomaly_map=None))
        return result.pred_score, result.pred_label


@pytest.mark.parametrize("good", [GOOD, torch.full((200,), 1.5)], ids=["range", "no range"])
def test_exported_score_that_is_not_a_number_is_anomalous(tmp_path: Path, good: torch.Tensor) -> None:
    labelled = Labelled(validated(good, NORMAL)).eval()
    scores = torch.tensor([[torch.nan], [torch.inf], [1.2], [9.0]])
    torch.onnx.export(labelled, (scores,), tmp_path / "model.onnx", dynamo=True, opset_version=18)
    compiled = openvino.Core().compile_model(tmp_path / "model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    expected = labelled(scores)
    assert expected[1].flatten().tolist() == [True, True, False, True]
    for result in (list(compiled(scores.numpy()).values()), session.run(None, {"scores": scores.numpy()})):
        for value, wanted in zip(result, expected, strict=True):
            torch.testing.assert_close(torch.from_numpy(value), wanted, equal_nan=True, check_dtype=False)


def _spotted(side: int, files: Path | None = None) -> ImageBatch:
    """Twenty normal images with a hot pixel each, and twenty with a spot of 3 x 3 pixels that is not as hot."""
    maps = torch.ones(40, 1, 8, 8)
    maps[:20, 0, 1, 1] = torch.linspace(4, 5, 20)
    maps[20:, 0, 2:5, 2:5] = 3.0
    paths = None
    if files is not None:
        paths = [str(files / f"{index}.png") for index in range(40)]
        for path in paths:
            Image.new("L", (side, side)).save(path)
    return ImageBatch(
        image=torch.zeros(40, 3, 8, 8),
        gt_label=torch.arange(40) >= 20,
        pred_score=maps.flatten(1).amax(1),
        anomaly_map=maps,
        image_path=paths,
    )


@pytest.mark.parametrize(("area", "found"), [(0, 0), (2, 20), (10, 0)])
def test_small_regions_set_no_threshold_and_make_no_alarm(area: float, found: int) -> None:
    processor = DistillationPostProcessor("false_alarms", 0.1, min_area=area)
    processor.on_validation_batch_end(None, None, _spotted(8))
    processor.on_validation_epoch_end(None, None)
    batch = _spotted(8)
    processor.on_test_batch_end(None, None, batch)
    assert batch.pred_label is not None
    assert int(batch.pred_label[20:].sum()) == found
    assert int(batch.pred_label[:20].sum()) <= 2


def test_areas_are_of_the_file(tmp_path: Path) -> None:
    labels = []
    for area in (9 * 16, 9 * 16 + 1):
        processor = DistillationPostProcessor("false_alarms", 0.1, min_area=area)
        processor.on_validation_batch_end(None, None, _spotted(32, tmp_path))
        processor.on_validation_epoch_end(None, None)
        batch = _spotted(32, tmp_path)
        processor.on_test_batch_end(None, None, batch)
        labels.append(int(batch.pred_label[20:].sum()))
    assert labels == [20, 0]


def test_rules_are_restored() -> None:
    restored = DistillationPostProcessor()
    restored.load_checkpoint_config(
        DistillationPostProcessor(min_area=3, min_peak=0.6, pixel_size=0.1).checkpoint_config()
    )
    assert restored.rules == RegionRules(3, 0.6, 0.1)


def test_scores_of_version_0_2_are_cut_off() -> None:
    processor = validated(GOOD, NORMAL)
    state = {name: value for name, value in processor.checkpoint_config().items() if name != "clip_scores"}
    scores = InferenceBatch(pred_score=torch.tensor([[100.0], [200.0]]), anomaly_map=None)
    assert processor(scores).pred_score.unique().numel() == 2
    processor.load_checkpoint_config(state)
    assert processor(scores).pred_score.flatten().tolist() == [1.0, 1.0]
