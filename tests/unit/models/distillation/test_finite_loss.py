# SPDX-License-Identifier: Apache-2.0
"""The sum of the scales' losses."""

import pytest
import torch

from rd_plugin.models.distillation.finite_loss import finite_sum


def test_sum() -> None:
    assert finite_sum("loss", {"a": torch.tensor(1.0), "b": torch.tensor(2.0)}, 0, None).item() == 3


@pytest.mark.parametrize(("files", "listed"), [(["a.png", "b.png"], "a.png, b.png"), (None, "unknown")])
def test_loss_that_is_not_finite(files: list[str] | None, listed: str) -> None:
    message = rf"loss at step 7 is not finite \(a 1, b nan\).*batch: {listed}\."
    with pytest.raises(ValueError, match=message):
        finite_sum("loss", {"a": torch.tensor(1.0), "b": torch.tensor(torch.nan)}, 7, files)
