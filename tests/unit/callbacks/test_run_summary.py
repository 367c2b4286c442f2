# SPDX-License-Identifier: Apache-2.0
"""What a run says at its end."""

import logging
import shlex
from pathlib import Path

import numpy as np
import pytest
from anomalib.engine import Engine
from PIL import Image

from rd_plugin import PartsFolder, ReverseDistillation


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for folder, count in (("good", 10), ("defect", 3)):
        for index in range(count):
            path = tmp_path / "my parts" / folder / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    return tmp_path / "my parts"


def run(root: Path, **arguments: object) -> tuple[ReverseDistillation, Engine]:
    model = ReverseDistillation("resnet18", pre_trained=False, image_size=(32, 32), **arguments)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False}
    engine = Engine(default_root_dir="results", accelerator="cpu", max_epochs=1, logger=False, **quiet)
    engine.train(model=model, datamodule=PartsFolder(root, num_workers=0, train_batch_size=3))
    return model, engine


def test_summary(root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.chdir(root.parent)
    with caplog.at_level(logging.INFO, logger="rd_plugin"):
        model, engine = run(root)
    checkpoint = "results/ReverseDistillation/my parts/v0/weights/lightning/model.ckpt"
    assert Path(checkpoint).is_file()
    assert f"Trained. The checkpoint is {checkpoint}" in caplog.messages
    (summary,) = [message for message in caplog.messages if message.startswith("ReverseDistillation was tested on 5 ")]
    told = dict(line.strip().split("  ", 1) for line in summary.splitlines()[1:])
    told = {name: text.strip() for name, text in told.items()}
    found = sum(int(batch.pred_label.sum()) for batch in engine.predict(model, data_path=root / "defect"))
    assert told["defects found"] == f"{found} of 3"
    assert told["false alarms"].endswith(" of 2 good images")
    # Two good images: the higher score is the threshold, and a third is above it with a probability of one third.
    assert told["false alarms to expect"] == (
        "of 100 new good images 1 to 85, 33 on average (2 good images set the threshold)"
    )
    assert (
        told["threshold"] == f"{float(model.post_processor.image_threshold):.4g}, which is 0.5 among normalized scores"
    )
    assert float(told["speed"].split()[0]) > 0
    assert len(list(Path(told["pictures"]).rglob("*.png"))) == 5
    assert "<html" in Path(told["report"]).read_text(encoding="utf-8")
    assert told["checkpoint"] == checkpoint
    assert shlex.split(told["judge others"]) == ["rd-plugin", "inspect", checkpoint, "FOLDER"]
    export = shlex.split(told["export"])
    assert export == ["rd-plugin", "export", "--export_type", "openvino", "--ckpt_path", checkpoint]


def test_thresholds_of_defects_promise_no_false_alarm_rate(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(root.parent)
    with caplog.at_level(logging.INFO, logger="rd_plugin"):
        model, engine = run(root, visualizer=False)
        assert model.post_processor.expected_false_alarms is not None
        caplog.clear()
        datamodule = PartsFolder(root, num_workers=0)
        datamodule.setup()
        datamodule.val_data = datamodule.test_data
        engine.validate(model=model, dataloaders=datamodule.val_dataloader())
        engine.test(model=model, dataloaders=datamodule.test_dataloader())
    assert model.post_processor.expected_false_alarms is None
    assert "defects found" in caplog.text
    assert "to expect" not in caplog.text
    assert "pictures" not in caplog.text
