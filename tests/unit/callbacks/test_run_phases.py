# SPDX-License-Identifier: Apache-2.0
"""What a run announces."""

import logging
import re
from pathlib import Path

import pytest
from anomalib.engine import Engine

from rd_plugin import PartsFolder, ReverseDistillation

from ...pictures import draw_noise


def test_phases_are_announced_in_order(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = ReverseDistillation("test_resnet", pre_trained=False, image_size=(32, 32), visualizer=False)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    engine = Engine(default_root_dir=tmp_path, accelerator="cpu", max_steps=1, **quiet)
    data = PartsFolder(draw_noise(tmp_path / "parts", {"good": 10}), num_workers=0)
    with caplog.at_level(logging.INFO, logger="rd_plugin"):
        engine.train(model=model, datamodule=data)
    told = [record.message for record in caplog.records if record.name == "rd_plugin.callbacks.run_phases"]
    expected = [
        r"Training: 1 steps on 3 images\.",
        r"Statistics of 3 training images, thresholds on 5 validation images: about \d+ seconds\.",
        r"Test: 2 images\.",
        r"Report: pictures, curves and tables on one page\.",
    ]
    assert [bool(re.fullmatch(*pair)) for pair in zip(expected, told, strict=True)] == [True] * 4
    caplog.clear()
    model.report = False
    with caplog.at_level(logging.INFO, logger="rd_plugin"):
        Engine(default_root_dir=tmp_path, accelerator="cpu", **quiet).validate(model=model, datamodule=data)
    # Nothing is announced where no training is under way.
    assert not [record for record in caplog.records if record.name == "rd_plugin.callbacks.run_phases"]
