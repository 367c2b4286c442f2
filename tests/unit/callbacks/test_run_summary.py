# SPDX-License-Identifier: Apache-2.0
"""What a run says at its end."""

import io
import logging
import re
import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from anomalib.data import ImageBatch
from anomalib.engine import Engine
from lightning.pytorch.trainer.states import TrainerFn

from rd_plugin import PartsFolder, ReverseDistillation
from rd_plugin.callbacks import RunSummary, run_summary
from rd_plugin.post_processor import DistillationPostProcessor

from ...pictures import draw_noise
from ..models.base import SMALL, with_thresholds


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return draw_noise(tmp_path / "my parts", {"good": 10, "defect": 3})


def run(root: Path, **arguments: object) -> tuple[ReverseDistillation, Engine]:
    model = ReverseDistillation("test_resnet", pre_trained=False, image_size=(32, 32), **arguments)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False}
    engine = Engine(default_root_dir="results", accelerator="cpu", max_epochs=1, logger=False, **quiet)
    engine.train(model=model, datamodule=PartsFolder(root, num_workers=0, train_batch_size=3))
    return model, engine


def _told(printed: str) -> dict[str, str]:
    """The entries below the table."""
    lines = printed[printed.index("ReverseDistillation: ") :].splitlines()
    return {name: text.strip() for name, _, text in (line.strip().partition("  ") for line in lines if line)}


def test_summary(root: Path, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="rd_plugin"):
        model, engine = run(root)
    printed = capsys.readouterr().out
    checkpoint = "results/ReverseDistillation/my parts/v0/weights/lightning/model.ckpt"
    assert Path(checkpoint).is_file()
    assert f"Trained. The checkpoint is {checkpoint}" in caplog.messages
    assert "ReverseDistillation: 5 test images, 2 normal and 3 defects." in printed
    # In place of Lightning's table, which has each metric once more.
    assert printed.count("image_AUROC") == 1
    told = _told(printed)
    assert float(told["image_AUROC"]) == pytest.approx(float(engine.trainer.callback_metrics["image_AUROC"]), abs=1e-4)
    found = sum(int(batch.pred_label.sum()) for batch in engine.predict(model, data_path=root / "defect"))
    assert f"  {100 * found / 3:.1f} % (" in told["the model's"]
    for rate in ("0.1", "1", "5", "10"):
        assert told[f"for {rate} % false alarms"].startswith("0.0 % (0.0 to 84.2)  ")
    # Five images: the highest score is the threshold, and a sixth image is above it with a probability of one sixth.
    assert told["expected"] == "0 to 53 false alarms in 100 new normal images, 17 on average (threshold set on 5)"
    threshold = float(model.post_processor.image_threshold)
    assert told["threshold"] == f"{threshold:.4g}, which is 0.5 among normalized scores"
    assert float(told["speed"].split()[0]) > 0
    assert len(list(Path(told["pictures"]).rglob("*.png"))) == 5
    assert "<html" in Path(told["report"]).read_text(encoding="utf-8")
    assert told["checkpoint"] == checkpoint
    assert shlex.split(told["inspect"]) == ["rd-plugin", "inspect", checkpoint, "FOLDER"]
    export = shlex.split(told["export"])
    assert export == ["rd-plugin", "export", "--export_type", "openvino", "--ckpt_path", checkpoint]


def test_thresholds_of_defects_promise_no_false_alarm_rate(root: Path, capsys: pytest.CaptureFixture) -> None:
    model, engine = run(root, visualizer=False)
    assert model.post_processor.expected_false_alarms is not None
    capsys.readouterr()
    datamodule = PartsFolder(root, num_workers=0)
    datamodule.setup()
    datamodule.val_data = datamodule.test_data
    engine.validate(model=model, dataloaders=datamodule.val_dataloader())
    engine.test(model=model, dataloaders=datamodule.test_dataloader())
    assert model.post_processor.expected_false_alarms is None
    printed = capsys.readouterr().out
    assert "defects found" in printed
    assert "new normal images" not in printed
    assert "pictures" not in printed
    engine.trainer.test(model, datamodule.test_dataloader(), verbose=False)
    assert not capsys.readouterr().out


def test_normal_images_alone_have_false_alarms_alone(root: Path, capsys: pytest.CaptureFixture) -> None:
    shutil.rmtree(root / "defect")
    run(root, visualizer=False, report=False)
    told = _told(capsys.readouterr().out)
    assert told["the model's"].endswith("  -")
    assert "image_AUROC" not in told


def test_images_of_all_processes_are_counted_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def gather(parts: list[object], own: object) -> None:
        # The last file of the other process fills up its share.
        parts[:] = [own, {"c": (True, 0.7, None), "d": (True, 0.2, None), "a": (False, 0.1, None)}]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    monkeypatch.setattr(run_summary, "_places", lambda *_: [])
    summary = RunSummary()
    trainer = SimpleNamespace(
        world_size=2, global_rank=0, is_global_zero=True, callback_metrics={}, test_loop=SimpleNamespace(verbose=True)
    )
    summary.on_test_start(trainer, None)
    batch = ImageBatch(
        image=torch.rand(2, 3, 8, 8),
        image_path=["a", "b"],
        gt_label=torch.tensor([0, 0]),
        pred_score=torch.tensor([0.1, 0.6]),
    )
    summary.on_test_batch_end(trainer, None, batch)
    summary.on_test_end(trainer, SimpleNamespace(name="Model", post_processor=None))
    summary.teardown(trainer, None, "test")
    assert "Model: 4 test images, 2 normal and 2 defects." in capsys.readouterr().out


def test_summary_that_the_output_cannot_encode_costs_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    summary = RunSummary()
    summary._summary = "report  prüfung/report.html"
    summary.teardown(None, None, "test")
    (message,) = caplog.messages
    assert message.startswith("The summary is left out: UnicodeEncodeError: ")


def test_a_training_that_is_taken_up_names_its_own_checkpoint(caplog: pytest.LogCaptureFixture) -> None:
    trainer = SimpleNamespace(
        is_global_zero=True,
        ckpt_path="v0/model.ckpt",
        checkpoint_callback=SimpleNamespace(best_model_path="v1/model.ckpt"),
    )
    with caplog.at_level(logging.INFO, logger="rd_plugin"):
        RunSummary().on_fit_end(trainer, None)
    assert caplog.messages == ["Trained. The checkpoint is v1/model.ckpt"]


def _validated(model: ReverseDistillation, phase: TrainerFn = TrainerFn.VALIDATING) -> None:
    state, loop = SimpleNamespace(fn=phase), SimpleNamespace(verbose=True)
    summary = RunSummary()
    summary.on_validation_end(SimpleNamespace(state=state, validate_loop=loop, is_global_zero=True), model)
    summary.teardown(None, model, "validate")


@pytest.mark.parametrize(("phase", "shown"), [(TrainerFn.VALIDATING, True), (TrainerFn.FITTING, False)])
def test_validation_prints_its_thresholds(capsys: pytest.CaptureFixture, phase: TrainerFn, shown: bool) -> None:
    model = with_thresholds(ReverseDistillation(**SMALL))
    model.post_processor.expected_false_alarms = (19, 0.05, (0.0, 0.2))
    _validated(model, phase)
    printed = capsys.readouterr().out
    assert ("ReverseDistillation: thresholds of the validation images." in printed) == shown
    assert ("0 to 20 false alarms in 100 new normal images, 5 on average (threshold set on 19)" in printed) == shown
    assert ("threshold  0.5, which is 0.5 among normalized scores" in printed) == shown
    assert ("not in the checkpoint; rd-plugin threshold" in printed) == shown


def test_a_model_without_threshold_says_so(capsys: pytest.CaptureFixture) -> None:
    _validated(ReverseDistillation(**SMALL))
    assert "threshold  none: the model was never validated" in capsys.readouterr().out


def test_summary_counts_what_the_rules_about_regions_leave(root: Path, capsys: pytest.CaptureFixture) -> None:
    model, engine = run(root, post_processor=DistillationPostProcessor(min_area=1e6))
    told = _told(capsys.readouterr().out)
    labels = [bool(label) for batch in engine.predict(model, data_path=root / "defect") for label in batch.pred_label]
    scores = [float(score) for batch in engine.predict(model, data_path=root / "defect") for score in batch.pred_score]
    assert max(scores) > 0.5
    assert labels == [False] * 3
    assert re.findall(r"([\d.]+) % \(", told["the model's"]) == ["0.0", "0.0"]
