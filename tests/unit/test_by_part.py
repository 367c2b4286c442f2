# SPDX-License-Identifier: Apache-2.0
"""A post-processor of its own for each part."""

from types import SimpleNamespace

import pytest
import torch
from anomalib.data import ImageBatch, InferenceBatch
from pandas import DataFrame

from rd_plugin.by_part import parts_in_use
from rd_plugin.post_processor import DistillationPostProcessor

PARTS = ("cap", "screw")
# Scores of the parts' good images lie a hundred apart.
SCORES = {"cap": 1.0, "screw": 101.0}


def batch(paths: list[str], scores: list[float], defects: list[int] | None = None) -> ImageBatch:
    """Images whose map is their score everywhere."""
    values = torch.tensor(scores)
    return ImageBatch(
        image=torch.zeros(len(paths), 3, 4, 4),
        gt_label=torch.tensor(defects or [0] * len(paths)),
        pred_score=values,
        anomaly_map=values.view(-1, 1, 1, 1).expand(-1, 1, 4, 4),
        image_path=paths,
    )


def validated(**arguments: object) -> DistillationPostProcessor:
    """Validated on ten images of each part, in mixed batches."""
    post_processor = DistillationPostProcessor(false_alarm_rate=0.2, **arguments)
    datamodule = SimpleNamespace(parts=PARTS)
    post_processor.on_fit_start(SimpleNamespace(datamodule=datamodule, world_size=1), None)
    for index in range(10):
        paths = [f"{part}/good/{index}.png" for part in PARTS]
        images = batch(paths, [SCORES[part] + 0.1 * index for part in PARTS])
        post_processor.on_validation_batch_end(None, None, images)
    post_processor.on_validation_epoch_end(None, None)
    return post_processor


def test_thresholds_and_promise_of_each(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    post_processor = validated()
    for part in PARTS:
        own = post_processor.of(part)
        assert float(own.image_threshold) == pytest.approx(SCORES[part] + 0.8)
        assert own.expected_false_alarms[:2] == (10, pytest.approx(2 / 11))
        assert f"{part}: Thresholds set on 10 normal validation images" in caplog.text
    assert post_processor.image_threshold.isnan()
    assert post_processor.expected_false_alarms is None


def test_a_mixed_batch_keeps_its_order() -> None:
    post_processor = validated()
    paths = ["screw/a.png", "cap/b.png", "screw/c.png", "cap/d.png"]
    scores = [101.0, 30.0, 130.0, 1.0]
    mixed = batch(paths, scores)
    post_processor.on_test_batch_end(None, None, mixed)
    assert mixed.pred_label.tolist() == [False, True, True, False]
    for index, path in enumerate(paths):
        alone = batch([path], [scores[index]])
        post_processor.on_predict_batch_end(None, None, alone)
        for name in ("pred_score", "anomaly_map", "pred_label", "pred_mask"):
            torch.testing.assert_close(getattr(mixed, name)[index], getattr(alone, name)[0])
    given = InferenceBatch(pred_score=torch.tensor([[30.0]]), anomaly_map=torch.full((1, 1, 4, 4), 30.0))
    assert post_processor.of("cap")(given).pred_label.item()
    assert not post_processor.of("screw")(given).pred_label.item()


def test_an_image_of_no_part() -> None:
    with pytest.raises(ValueError, match=r"path 'other/1.png' is named after a part \(cap, screw\)"):
        validated().on_test_batch_end(None, None, batch(["other/1.png"], [1.0]))
    with pytest.raises(ValueError, match="is for several parts: give part, one of cap, screw"):
        validated()(InferenceBatch(pred_score=torch.ones(1, 1), anomaly_map=torch.ones(1, 1, 4, 4)))


def test_a_checkpoint_keeps_the_parts_and_their_thresholds() -> None:
    saved = validated(min_peak=0.6)
    loaded = DistillationPostProcessor()
    loaded.load_checkpoint_config(saved.checkpoint_config())
    loaded.load_state_dict(saved.state_dict())
    assert loaded.parts == PARTS
    for part in PARTS:
        assert loaded.of(part).scale() == saved.of(part).scale()
        assert loaded.of(part).min_peak == 0.6


def test_of_one_part_nothing_changes() -> None:
    alone = DistillationPostProcessor()
    assert alone.of() is alone
    assert "parts" not in alone.checkpoint_config()
    assert not [name for name in alone.state_dict() if "part" in name]
    with pytest.raises(ValueError, match="part 'cap': the model is not for several parts"):
        alone.of("cap")


def test_new_parts_take_the_place_of_others() -> None:
    post_processor = validated()
    before = post_processor.of("cap")
    post_processor.set_parts(PARTS)
    assert post_processor.of("cap") is before
    post_processor.set_parts(("disc",))
    assert post_processor.parts == ("disc",)
    post_processor.set_parts(())
    assert not [name for name in post_processor.state_dict() if "part" in name]


def test_the_data_module_says_the_parts() -> None:
    known, unknown = SimpleNamespace(parts=("a", "b")), SimpleNamespace()
    model = SimpleNamespace(post_processor=validated())
    assert parts_in_use(SimpleNamespace(datamodule=known), model) == ("a", "b")
    assert parts_in_use(SimpleNamespace(datamodule=unknown), model) == PARTS
    assert parts_in_use(SimpleNamespace(), SimpleNamespace()) == ()


def test_more_processes_than_images_of_a_part() -> None:
    val = SimpleNamespace(samples=DataFrame({"part": ["cap"] * 3 + ["screw"] * 2}))
    datamodule = SimpleNamespace(parts=PARTS, val_data=val, test_data=val)
    post_processor = DistillationPostProcessor()
    post_processor.on_fit_start(SimpleNamespace(datamodule=datamodule, world_size=2), None)
    message = "3 processes need at least as many images of each part in the val set; screw has 2"
    with pytest.raises(ValueError, match=message):
        post_processor.on_fit_start(SimpleNamespace(datamodule=datamodule, world_size=3), None)


def test_more_processes_than_images() -> None:
    datamodule = SimpleNamespace(val_data=SimpleNamespace(samples=DataFrame({"image_path": ["1.png", "2.png"]})))
    post_processor = DistillationPostProcessor()
    post_processor.on_fit_start(SimpleNamespace(datamodule=datamodule, world_size=2), None)
    with pytest.raises(ValueError, match=r"3 processes need at least as many images in the val set; it has 2\."):
        post_processor.on_fit_start(SimpleNamespace(datamodule=datamodule, world_size=3), None)
