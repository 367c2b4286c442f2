# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from rd_plugin.components.geometry import fit


@pytest.mark.parametrize("size", [(4, 4), (3, 4), (4, 2), (5, 4), (4, 6), (3, 5), (6, 1)])
def test_cut_off_or_repeated_at_the_far_edges(size: tuple[int, int]) -> None:
    features = torch.randn(2, 3, 4, 4)
    rows, columns = (torch.arange(length).clamp(max=3) for length in size)
    assert torch.equal(fit(features, size), features[..., rows, :][..., columns])
