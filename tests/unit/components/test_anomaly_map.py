# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
import torch
from anomalib.models.image.reverse_distillation.anomaly_map import AnomalyMapGenerator as AnomalibGenerator
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from rd_plugin.components import AnomalyMapGenerator, ImageScore, cosine_deviation

MODES = ("add", "multiply")
GRIDS = ((16, 12), (8, 6), (4, 3))


def deviations(count: int = 2) -> list[Tensor]:
    return [2 * torch.rand(count, *grid) for grid in GRIDS]


def combined(maps: list[Tensor], mode: str) -> Tensor:
    stacked = torch.stack(maps)
    return stacked.sum(dim=0) if mode == "add" else stacked.prod(dim=0)


def interpolated(deviation: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(deviation.unsqueeze(1), size=size, mode="bilinear", align_corners=True)


# The last size is smaller than the kernel, which is 33 pixels wide.
@pytest.mark.parametrize("size", [(64, 48), (50, 71), (20, 9)])
@pytest.mark.parametrize("mode", MODES)
def test_symmetric_border_is_interpolation_and_scipy_gaussian_filter(size: tuple[int, int], mode: str) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    scales = deviations()
    expected = combined([interpolated(deviation, size) for deviation in scales], mode).double().numpy()
    expected = np.stack([ndimage.gaussian_filter(image[0], sigma=4) for image in expected])[:, None]
    actual = AnomalyMapGenerator(mode)(scales, size)
    torch.testing.assert_close(actual, torch.from_numpy(expected).float(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(64, 48), (50, 71)])
@pytest.mark.parametrize("mode", MODES)
def test_reflect_border_is_anomalibs_map(size: tuple[int, int], mode: str) -> None:
    teacher = [torch.randn(2, 5, *grid) for grid in GRIDS]
    student = [torch.randn(2, 5, *grid) for grid in GRIDS]
    scales = [cosine_deviation(t, s) for t, s in zip(teacher, student, strict=True)]
    actual = AnomalyMapGenerator(mode, border="reflect")(scales, size)
    torch.testing.assert_close(actual, AnomalibGenerator(size, mode=mode)(student, teacher), rtol=0, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_no_blur(mode: str) -> None:
    scales = deviations()
    expected = [interpolated(deviation, (40, 30)) for deviation in scales]
    generator = AnomalyMapGenerator(mode, sigma=0)
    torch.testing.assert_close(generator(scales, (40, 30)), combined(expected, mode), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 20), (3, 2)])
def test_constant_deviations_give_a_constant_map_at_any_size(size: tuple[int, int]) -> None:
    anomaly_map = AnomalyMapGenerator()([torch.full((1, 4, 4), 0.5), torch.full((1, 1, 1), 0.25)], size)
    torch.testing.assert_close(anomaly_map, torch.full((1, 1, *size), 0.75))


def test_autocast_changes_neither_type_nor_precision() -> None:
    generator, scales = AnomalyMapGenerator(), deviations()
    expected = generator(scales, (64, 48))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = generator(scales, (64, 48))
    assert actual.dtype == torch.float32
    assert torch.equal(actual, expected)


def test_gradients_after_use_in_inference_mode() -> None:
    generator = AnomalyMapGenerator(sigma=3.21)
    with torch.inference_mode():
        generator(deviations(), (33, 34))
    scales = [deviation.requires_grad_() for deviation in deviations()]
    generator(scales, (33, 34)).sum().backward()
    assert all(deviation.grad.isfinite().all() for deviation in scales)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "median"}, r"anomaly_map_mode must be 'add', 'mean' or 'multiply', got 'median'"),
        ({"border": "wrap"}, r"blur_border must be 'symmetric' or 'reflect', got 'wrap'"),
        ({"sigma": -1}, r"blur_sigma must be at least 0 pixels, got -1"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AnomalyMapGenerator(**arguments)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("max", [20.0, 40.0]), ("mean", [10.5, 30.5]), (0.1, [19.5, 39.5]), (1, [10.5, 30.5]), (0.001, [20.0, 40.0])],
)
def test_image_score(kind: str | float, expected: list[float]) -> None:
    maps = torch.arange(1.0, 41.0).reshape(2, 1, 4, 5)[:, :, :, torch.randperm(5)]
    torch.testing.assert_close(ImageScore(kind)(maps), torch.tensor(expected).unsqueeze(1))


@pytest.mark.parametrize(("count", "expected"), [(2, 7.0), (3, 17 / 3), (3.0, 17 / 3), (100, 4.5)])
def test_score_of_the_highest_areas(count: float, expected: float) -> None:
    areas = torch.tensor([[3.0, 9.0], [1.0, 5.0]])
    anomaly_map = areas.repeat_interleave(8, 0).repeat_interleave(8, 1)[None, None]
    # Of each area its highest pixel counts.
    anomaly_map[..., :8, :7] = -1
    torch.testing.assert_close(ImageScore(count)(anomaly_map), torch.tensor([[expected]]))


def test_areas_reach_to_a_border_at_any_size() -> None:
    anomaly_map = torch.zeros(1, 1, 10, 18)
    anomaly_map[..., 9, 17] = 4
    torch.testing.assert_close(ImageScore(2)(anomaly_map), torch.tensor([[2.0]]))


@pytest.mark.parametrize("kind", ["sum", 0, 0.0, -0.5, 1.5, True, math.nan, math.inf, None])
def test_bad_score(kind: object) -> None:
    accepted = r"'max', 'mean', a fraction in \(0, 1\] or a whole number of areas of at least 2"
    with pytest.raises(ValueError, match=rf"score must be {accepted}, got {kind!r}"):
        ImageScore(kind)
