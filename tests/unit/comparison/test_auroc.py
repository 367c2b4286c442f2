# SPDX-License-Identifier: Apache-2.0
"""Area under the ROC curve: torchmetrics' on scores that it can take, and right on others."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import binary_auroc

from rd_plugin.comparison import area_under_roc


def test_is_torchmetrics_of_images_and_of_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    # Some scores are equal.
    scores = torch.randint(20, (3, 5, 4, 4), generator=generator) / 20
    labels = torch.rand(5, 4, 4, generator=generator) > 0.6
    expected = [float(binary_auroc(each.flatten(), labels.flatten().int())) for each in scores]
    np.testing.assert_allclose(area_under_roc(scores, labels), expected, rtol=1e-6)
    assert float(area_under_roc(scores[0], labels)) == pytest.approx(expected[0])


def test_scores_of_any_range_keep_their_order() -> None:
    labels = [True, False, True, True]
    assert area_under_roc(np.array([300.0, 100.0, 400.0, 200.0], np.float32), labels) == 1.0
    assert area_under_roc(1e9 + np.arange(4), labels) == pytest.approx(2 / 3)


def test_what_cannot_be_ranked_is_refused() -> None:
    with pytest.raises(ValueError, match="1 of 3 scores are not finite"):
        area_under_roc([300.0, float("nan"), 200.0], [True, False, True])
    with pytest.raises(ValueError, match="all 2 images or pixels are normal"):
        area_under_roc([0.1, 0.2], [False, False])
