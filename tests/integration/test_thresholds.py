# SPDX-License-Identifier: Apache-2.0
"""Thresholds where no defect has been seen yet."""

import logging
from pathlib import Path

import pytest
from anomalib.cli import AnomalibCLI

from .conftest import Method, data_config, one_method, small_model, write_config


@one_method
def test_good_images_alone_set_the_thresholds(
    method: Method,
    tmp_path: Path,
    mvtec_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    post_processor = {
        "class_path": "rd_plugin.post_processor.DistillationPostProcessor",
        "init_args": {"false_alarm_rate": 0.25},
    }
    config = write_config(
        tmp_path / "config.yaml",
        model=small_model(method, post_processor=post_processor, visualizer=False),
        data=data_config(mvtec_root, val_split_mode="from_train", val_split_ratio=0.34),
    )
    with caplog.at_level(logging.INFO):
        cli = AnomalibCLI(["train", "--config", str(config)])
    assert (
        "Thresholds set on 4 normal validation images, for a false-alarm rate of 0.25: expected rate 0.2" in caplog.text
    )
    processor = cli.model.post_processor
    assert processor.image_min < processor.image_threshold < processor.image_max
    metrics = cli.engine.trainer.callback_metrics
    assert {"image_AUROC", "pixel_AUPRO"} <= set(metrics)
