# SPDX-License-Identifier: Apache-2.0
"""A model's outputs become a prediction."""

import numpy as np
import pytest

from rd_plugin.inspection.inferencer import to_prediction


@pytest.mark.parametrize("shape", [(1, 1, 2, 3), (1, 2, 3), (2, 3)])
def test_outputs_by_anomalibs_names(shape: tuple[int, ...]) -> None:
    planes = np.arange(6.0).reshape(shape)
    outputs = {"pred_score": np.array([[0.25]]), "pred_label": np.array([True]), "anomaly_map": planes}
    found = to_prediction({**outputs, "pred_mask": planes > 3}, 2.0)
    assert (found.anomalous, found.score, found.milliseconds) == (True, 0.25, 2.0)
    assert found.anomaly_map is not None
    assert found.mask is not None
    assert found.anomaly_map.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found.mask.tolist() == [[False, False, False], [False, True, True]]
    without = to_prediction({name: outputs[name] for name in ("pred_score", "pred_label")}, 2.0)
    assert (without.anomaly_map, without.mask) == (None, None)
