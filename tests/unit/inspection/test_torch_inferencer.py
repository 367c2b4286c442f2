# SPDX-License-Identifier: Apache-2.0
"""Checkpoints and torch exports."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from anomalib.data import InferenceBatch
from torch import Tensor, nn

from rd_plugin import ReverseDistillation
from rd_plugin.convert.files import write_checkpoint
from rd_plugin.inspection import load_inferencer
from rd_plugin.post_processor import DistillationPostProcessor

from ..models.base import with_thresholds


class Mean(nn.Module):
    """Scores an image by its mean.

    Args:
        threshold: That of its post-processor; it has none if this is ``None``.
    """

    def __init__(self, threshold: float | None) -> None:
        super().__init__()
        if threshold is not None:
            self.post_processor = DistillationPostProcessor(enable_normalization=False)
            self.post_processor._image_threshold.fill_(threshold)

    def forward(self, images: Tensor) -> InferenceBatch:
        scores = images.mean((1, 2, 3))
        return InferenceBatch(pred_score=scores, pred_label=scores > 0.5)


@pytest.mark.parametrize(("own", "expected"), [(0.0, 0.0), (0.25, 0.25), (None, 0.5)])
def test_zero_is_a_threshold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: float | None, expected: float
) -> None:
    torch.save({"model": Mean(own)}, tmp_path / "model.pt")
    monkeypatch.setenv("TRUST_REMOTE_CODE", "1")
    inferencer = load_inferencer(tmp_path / "model.pt", threads=1)
    found = inferencer.predict(np.full((4, 6, 3), 51, np.uint8))
    assert (found.score, found.anomalous, found.anomaly_map) == (pytest.approx(0.2), False, None)
    assert inferencer.threshold == expected


def test_weights_of_a_checkpoint_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.ckpt"
    write_checkpoint(with_thresholds(ReverseDistillation("test_resnet", pre_trained=False)), path, "RD4AD")
    read, load = [], torch.load

    def noted(*arguments: Any, **options: Any) -> Any:
        read.append(bool(options.get("mmap")))
        return load(*arguments, **options)

    monkeypatch.setattr(torch, "load", noted)
    load_inferencer(path)
    # Its record alone, and the whole.
    assert read == [True, False]
