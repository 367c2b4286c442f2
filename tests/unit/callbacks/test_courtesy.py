# SPDX-License-Identifier: Apache-2.0
"""What a run can do without costs a warning when it fails, and not the run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rd_plugin import PartsFolder, ReverseDistillation
from rd_plugin.callbacks import provenance_writer, reference_writer, report_writer, run_summary
from rd_plugin.callbacks.courtesy import courtesy, spared
from rd_plugin.visualizer import PredictionVisualizer

from ...pictures import draw_noise
from ..trainers import quiet_trainer


def test_an_error_is_a_warning_on_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with courtesy("The report"):
        msg = "no\n  space"
        raise OSError(msg)
    assert caplog.messages == ["The report is left out: OSError: no space"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_stop_is_no_error(stop: type[BaseException]) -> None:
    with pytest.raises(stop), courtesy("The report"):
        raise stop


def test_what_failed_once_is_left_out_until_the_next_run(caplog: pytest.LogCaptureFixture) -> None:
    class Callback:
        failed = False
        done = 0

        @spared("The count")
        def on_batch(self, number: int) -> None:
            self.done += 1 // number

    callback = Callback()
    for number in (1, 0, 1):
        callback.on_batch(number)
    assert callback.done == 1
    assert caplog.messages == ["The count is left out: ZeroDivisionError: integer division or modulo by zero"]
    callback.failed = False
    callback.on_batch(1)
    assert callback.done == 2


def _fail(*_: Any, **__: Any) -> Any:
    msg = "as a test wants it"
    raise RuntimeError(msg)


COURTESIES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "The summary": lambda patch: patch.setattr(run_summary, "_places", _fail),
    "The summary's speed": lambda patch: patch.setattr(run_summary, "_speed", _fail),
    "The report": lambda patch: patch.setattr(report_writer, "write_report", _fail),
    "The rest of the pictures": lambda patch: patch.setattr(PredictionVisualizer, "_write", _fail),
    "The record of the environment": lambda patch: patch.setattr(provenance_writer, "installed_versions", _fail),
    "The reference that new images are compared with": lambda patch: patch.setattr(
        reference_writer, "file_statistics", _fail
    ),
}


@pytest.mark.parametrize("what", COURTESIES)
def test_a_courtesy_that_fails_leaves_the_results(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data = PartsFolder(draw_noise(tmp_path / "parts", {"good": 6, "defect": 2}, side=40), num_workers=0)
    COURTESIES[what](monkeypatch)
    model = ReverseDistillation("test_resnet", pre_trained=False, image_size=(40, 40))
    trainer = quiet_trainer(tmp_path, max_steps=1)
    trainer.fit(model, datamodule=data)
    (metrics,) = trainer.test(model, datamodule=data)
    assert "image_AUROC" in metrics
    said = [message for message in caplog.messages if "is left out: RuntimeError: as a test wants it" in message]
    assert len(said) == 1
    assert said[0].startswith(f"{what} is left out")
