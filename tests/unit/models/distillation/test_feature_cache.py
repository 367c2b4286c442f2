# SPDX-License-Identifier: Apache-2.0
"""Features are computed once for each image, and never taken for another."""

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rd_plugin.models.distillation.feature_cache import FeatureCache

IMAGES = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
NAMES = ["a.png", "b.png", "c.png", "d.png"]
# Of four images: 8 x 8 positions of 3 channels and 4 x 4 of 6, two bytes each.
NEEDED = 4 * (8 * 8 * 3 + 4 * 4 * 6) * 2


class Network:
    """Counts the images that it has seen."""

    def __init__(self, scale: float = 1.0) -> None:
        self.seen = 0
        self.scale = scale

    def __call__(self, images: Tensor) -> list[Tensor]:
        self.seen += len(images)
        fine = self.scale * images[:, :, ::2, ::2]
        return [fine, torch.cat([fine, -fine], dim=1)[:, :, ::2, ::2]]


@pytest.fixture(params=["memory", "disk", "auto"])
def cache(request: pytest.FixtureRequest) -> FeatureCache:
    return FeatureCache(Network(), request.param, NEEDED, images=4)


def test_features_are_computed_once(cache: FeatureCache) -> None:
    first = [torch.cat(parts) for parts in zip(cache(IMAGES[:2], NAMES[:2]), cache(IMAGES[2:], NAMES[2:]), strict=True)]
    order = [2, 0, 3, 1]
    features = cache(IMAGES[order], [NAMES[i] for i in order])
    assert cache.network.seen == 4
    assert all(torch.equal(once[order], again) for once, again in zip(first, features, strict=True))
    torch.testing.assert_close(features, Network()(IMAGES[order]), rtol=1e-3, atol=0)
    assert all(feature.dtype == torch.float32 for feature in features)
    assert all(feature.is_contiguous(memory_format=torch.channels_last) for feature in features)


def test_full_precision_if_the_budget_allows() -> None:
    cache = FeatureCache(Network(), "auto", 2 * NEEDED, images=4)
    cache(IMAGES, NAMES)
    assert all(torch.equal(a, b) for a, b in zip(cache(IMAGES, NAMES), Network()(IMAGES), strict=True))
    assert cache.network.seen == 4


def test_one_unknown_image_has_the_batch_computed(cache: FeatureCache) -> None:
    cache(IMAGES[:2], NAMES[:2])
    torch.testing.assert_close(cache(IMAGES[1:3], NAMES[1:3]), Network()(IMAGES[1:3]), rtol=1e-3, atol=0)
    assert cache.network.seen == 4
    cache(IMAGES[:3], NAMES[:3])
    assert cache.network.seen == 4


@pytest.mark.parametrize(
    "change",
    [lambda images: images.flip(-1), lambda images: images + 1e-6, lambda images: images.roll(1, dims=0)],
    ids=["flip", "brighten", "swap"],
)
def test_changed_images_switch_it_off(
    cache: FeatureCache, change: Callable[[Tensor], Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    cache(IMAGES, NAMES)
    changed = change(IMAGES)
    assert torch.equal(cache(changed, NAMES)[0], Network()(changed)[0])
    assert cache.is_off
    assert "training images change from epoch to epoch" in caplog.text
    cache(IMAGES, NAMES)
    assert cache.network.seen == 12


def test_off_keeps_nothing() -> None:
    cache = FeatureCache(Network(), "off", 10**9, images=4)
    cache(IMAGES, NAMES)
    cache(IMAGES, NAMES)
    assert cache.network.seen == 8


@pytest.mark.parametrize(("images", "names"), [(4, None), (4, NAMES[:2]), (0, NAMES)])
def test_nothing_is_kept_of_images_without_names_of_their_own(images: int, names: list[str] | None) -> None:
    cache = FeatureCache(Network(), "memory", 10**9, images)
    cache(IMAGES, names)
    cache(IMAGES, names)
    assert cache.network.seen == 8


def test_memory_keeps_to_its_budget(caplog: pytest.LogCaptureFixture) -> None:
    cache = FeatureCache(Network(), "memory", NEEDED - 1, images=4)
    cache(IMAGES, NAMES)
    assert cache.is_off
    assert f"the features take {NEEDED} bytes, more than feature_cache_bytes ({NEEDED - 1})" in caplog.text


def test_auto_goes_to_disk_above_the_budget(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    cache = FeatureCache(Network(), "auto", NEEDED - 1, images=4)
    cache(IMAGES, NAMES)
    cache(IMAGES, NAMES)
    assert cache.network.seen == 4
    assert f"in a temporary file, in half precision: {NEEDED / 1e9:.2g} GB of at most 10 GB" in caplog.text


def test_auto_takes_no_more_than_its_limit_on_a_disk(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rd_plugin.models.distillation.feature_cache._DISK_BYTES", NEEDED - 1)
    cache = FeatureCache(Network(), "auto", 0, images=4)
    cache(IMAGES, NAMES)
    assert cache.is_off
    assert f"feature_cache 'auto' uses at most {NEEDED - 1}" in caplog.text


def test_auto_never_goes_to_disk_from_a_gpu(caplog: pytest.LogCaptureFixture) -> None:
    # Where there is no GPU, what counts of one is that its tensors are elsewhere.
    cache = FeatureCache(lambda images: [images.to("meta")], "auto", 0, len(NAMES))
    assert cache(torch.rand(len(NAMES), 3, 8, 8), NAMES)[0].device.type == "meta"
    assert cache.is_off
    assert "more than feature_cache_bytes (0)" in caplog.text


def test_disk_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even while it is used, so that a killed process leaves none."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    cache = FeatureCache(Network(), "disk", 0, images=4)
    cache(IMAGES, NAMES)
    cache(IMAGES, NAMES)
    assert cache.network.seen == 4
    assert not list(tmp_path.iterdir())


def test_full_disk_switches_it_off(caplog: pytest.LogCaptureFixture) -> None:
    cache = FeatureCache(Network(), "disk", 0, images=2**55)
    cache(IMAGES, NAMES)
    assert cache.is_off
    assert f"but {tempfile.gettempdir()} has" in caplog.text


def test_features_out_of_range_switch_it_off(caplog: pytest.LogCaptureFixture) -> None:
    cache = FeatureCache(Network(scale=1e6), "memory", NEEDED, images=4)
    assert torch.equal(cache(IMAGES, NAMES)[0], Network(scale=1e6)(IMAGES)[0])
    assert cache.is_off
    assert "out of the range of half precision" in caplog.text


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="feature_cache must be 'off', 'memory', 'disk' or 'auto', got 'ram'"):
        FeatureCache(Network(), "ram", 0, 1)
    with pytest.raises(ValueError, match="feature_cache_bytes must be 0 or more, got -1"):
        FeatureCache(Network(), "auto", -1, 1)
