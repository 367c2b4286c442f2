# SPDX-License-Identifier: Apache-2.0
"""A threshold that is changed after the training: the same in a checkpoint and in its exports."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rd_plugin.inspection import Inspector
from rd_plugin.results import InspectionResult
from rd_plugin.thresholds import write_threshold

from .conftest import Trained, export_as_on_the_card, one_method


def _inspect(model: Path, files: list[Path]) -> list[InspectionResult]:
    return list(Inspector(model, threads=1)(files, pictures=True))


def _check_alike(first: list[InspectionResult], second: list[InspectionResult]) -> None:
    for one, other in zip(first, second, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-4)
        assert one.verdict == other.verdict
        assert one.picture is not None
        assert other.picture is not None
        np.testing.assert_allclose(one.picture.anomaly_map, other.picture.anomaly_map, atol=1e-4)


def _between(results: list[InspectionResult]) -> float:
    """A threshold in the middle of the widest gap between scores."""
    scores = np.sort([result.score for result in results])
    widest = int(np.diff(scores).argmax())
    return float(scores[widest : widest + 2].mean())


@one_method
def test_checkpoint_and_export_predict_alike(
    trained: Trained, exported: Path, files: list[Path], tmp_path: Path
) -> None:
    value = _between(_inspect(trained.checkpoint, files))
    new = [
        write_threshold(model, tmp_path / f"new{model.suffix}", value, value, {})
        for model in (trained.checkpoint, exported)
    ]
    found = [_inspect(model, files) for model in new]
    _check_alike(*found)
    assert {result.threshold for result in found[1]} == {0.5}
    assert {result.verdict for result in found[1]} == {"normal", "anomalous"}


@pytest.mark.slow
@one_method
def test_export_of_the_new_checkpoint_equals_the_old_export_with_the_threshold(
    trained: Trained, exported: Path, files: list[Path], tmp_path: Path
) -> None:
    value = _between(_inspect(trained.checkpoint, files))
    checkpoint = write_threshold(trained.checkpoint, tmp_path / "model.ckpt", value, value, {})
    folder = export_as_on_the_card(replace(trained, checkpoint=checkpoint), tmp_path, "openvino")
    changed = write_threshold(exported, tmp_path / "new.xml", value, value, {})
    _check_alike(_inspect(folder / "model.xml", files), _inspect(changed, files))
