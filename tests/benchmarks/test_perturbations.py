# SPDX-License-Identifier: Apache-2.0
"""What the accuracy benchmark does to images: the same to the same file, with its mask, and to no other."""

from pathlib import Path

import pytest
import torch
from anomalib.data.utils import ValSplitMode
from torch import Tensor
from torchvision.tv_tensors import Image, Mask

from benchmarks.accuracy.perturbations import CORNERS, PERTURBATIONS, BrightnessNormalized, Turned, describe, take
from rd_plugin import MVTec


def _sample(seed: int = 0) -> tuple[Image, Mask]:
    """A dark image with a bright spot near its corner, and the spot's mask."""
    mask = torch.zeros(60, 60, dtype=torch.uint8)
    mask[3:13, 45:55] = 1
    image = 0.2 + 0.05 * torch.rand(3, 60, 60, generator=torch.Generator().manual_seed(seed)) + 0.7 * mask
    return Image(image), Mask(mask)


def _agree(image: Tensor, mask: Tensor) -> bool:
    """Whether the bright spot is where the mask is, but for its border."""
    bright = image.mean(0) > 0.6
    return bool(((bright != mask.bool()).float().sum() / mask.sum()) < 0.3)


@pytest.mark.parametrize("corners", CORNERS)
def test_turned_by_an_angle_of_its_own(corners: str) -> None:
    turn = Turned(corners)
    image, mask = _sample()
    turned, turned_mask = turn(image, mask)
    assert turned.shape[-2:] == turned_mask.shape[-2:] == (85, 85)
    assert _agree(turned, turned_mask)
    # Nothing was turned out of sight.
    assert turned_mask.sum() > 0.9 * mask.sum()
    torch.testing.assert_close(turn(image), turned, rtol=0, atol=0)
    angles = {round(turn.make_params([_sample(seed)[0]])["angle"]) for seed in range(8)}
    assert len(angles) == 8
    assert (turned[:, 0, 0].max() == 0) == (corners == "black")


def test_perturbations_leave_masks_on_their_defects() -> None:
    image, mask = _sample()
    for name, perturb in PERTURBATIONS.items():
        changed, kept = perturb(image, mask)
        assert changed.shape == image.shape
        assert changed.dtype == image.dtype
        assert not torch.equal(changed, image), name
        assert 0 <= changed.min() <= changed.max() <= 1
        assert _agree(changed, kept), name
    assert torch.equal(PERTURBATIONS["shift of 4 pixels"](image)[:, 4:, 4:], image[:, :-4, :-4])


def test_brightness_is_normalized() -> None:
    good = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    normalize = BrightnessNormalized(strength=1.0)
    normalize.fit(good * torch.linspace(0.6, 1, 8).view(-1, 1, 1, 1))
    levels = normalize.brightness.levels(normalize(torch.stack([good[0], good[0] * 0.8])))
    assert levels[0].item() == pytest.approx(levels[1].item(), abs=1e-5)
    mask = Mask(torch.ones(2, 16, 16))
    assert torch.equal(normalize(mask), mask)


def test_few_training_images(mvtec_root: Path) -> None:
    def taken(draw: int) -> list[str]:
        data = MVTec(mvtec_root, "tile", val_split_mode=ValSplitMode.NONE, num_workers=0)
        data.setup()
        before = len(data.test_data)
        take(data, 3, draw)
        assert len(data.test_data) == before
        return list(data.train_data.samples["image_path"])

    assert len(set(taken(0))) == 3
    assert taken(0) == taken(0)
    assert any(taken(0) != taken(draw) for draw in range(1, 4))
    data = MVTec(mvtec_root, "tile", val_split_mode=ValSplitMode.NONE, num_workers=0)
    data.setup()
    with pytest.raises(ValueError, match="--train-images 1000: there are"):
        take(data, 1000, 0)


def test_words_for_tables() -> None:
    assert describe({}) == "as they are"
    assert describe({"turned": "black", "train_images": 20}, "JPEG 60") == (
        "turned, black corners, 20 to train on, JPEG 60"
    )
