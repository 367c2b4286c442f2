# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from rd_plugin.components import resampling_matrix

BORDERS = ("symmetric", "reflect")


def interpolation(source: int, target: int) -> np.ndarray:
    identity = torch.eye(source, dtype=torch.float64)[None]
    return F.interpolate(identity, target, mode="linear", align_corners=True)[0].T.numpy()


@pytest.mark.parametrize(("source", "target"), [(4, 16), (7, 7), (9, 4), (1, 5), (3, 1)])
def test_without_a_blur_it_is_torchs_interpolation(source: int, target: int) -> None:
    expected = interpolation(source, target)
    np.testing.assert_allclose(resampling_matrix((source,), target, 0.0, "symmetric"), expected, rtol=0, atol=1e-6)


# The kernel reaches 8 pixels to each side, in the last case beyond both ends several times.
@pytest.mark.parametrize("target", [40, 9, 3])
@pytest.mark.parametrize("border", BORDERS)
def test_blur_is_scipys(border: str, target: int) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    names = {"symmetric": "reflect", "reflect": "mirror"}
    expected = ndimage.gaussian_filter1d(interpolation(5, target), 2.0, axis=0, mode=names[border])
    np.testing.assert_allclose(resampling_matrix((5,), target, 2.0, border), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("border", BORDERS)
def test_several_grids_stand_side_by_side(border: str) -> None:
    expected = [resampling_matrix((source,), 20, 1.5, border) for source in (8, 4, 3)]
    np.testing.assert_array_equal(resampling_matrix((8, 4, 3), 20, 1.5, border), np.concatenate(expected, axis=1))
