# SPDX-License-Identifier: Apache-2.0
"""A number printed into a corner of each image: another in each, the same in the same, and what is below it."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from anomalib.data.utils import ValSplitMode
from PIL import Image
from torchvision import tv_tensors

from benchmarks.accuracy import __main__ as accuracy
from benchmarks.accuracy.printed_number import PRINTED, PrintedNumber, drop_hidden, region_beside
from rd_plugin import MVTec
from rd_plugin.components import Region


def test_number_depends_on_the_image_and_is_in_its_corner() -> None:
    images = torch.rand(4, 3, 128, 128, generator=torch.Generator().manual_seed(0)) / 2
    mask = tv_tensors.Mask(torch.zeros(128, 128, dtype=torch.uint8))
    printed = []
    for image in images:
        found, kept = PrintedNumber()(tv_tensors.Image(image), mask)
        assert not kept.any()
        assert torch.equal(found, PrintedNumber()(tv_tensors.Image(image)))
        rows, columns = (found != image).any(0).nonzero(as_tuple=True)
        assert rows.max() < 14
        assert columns.min() >= 128 - 44
        assert found.max() > 0.9
        printed.append(found[0] > 0.9)
    assert len({tuple(each.flatten().tolist()) for each in printed}) == 4


@pytest.fixture
def tiles(mvtec_root: Path) -> MVTec:
    data = MVTec(mvtec_root, "tile", val_split_mode=ValSplitMode.NONE, num_workers=0)
    data.setup()
    return data


def test_region_leaves_the_number_out(tiles: MVTec) -> None:
    with Image.open(tiles.train_data.samples["image_path"].iloc[0]) as image:
        width, height = image.size
    outside = ~Region.of(region_beside(tiles)).mask((height, width))
    black = tv_tensors.Image(torch.zeros(3, height, width))
    assert outside[(PrintedNumber()(black) > 0).any(0).numpy()].all()
    assert outside.mean() == pytest.approx(0.11 * 0.345, rel=0.2)


def test_images_whose_defect_is_below_the_number_are_dropped(tiles: MVTec, tmp_path: Path) -> None:
    samples = tiles.test_data.samples
    masked = [index for index, file in enumerate(samples["mask_path"]) if file]
    mask = np.zeros((100, 100), np.uint8)
    mask[2:8, 90:98] = 255
    Image.fromarray(mask).save(tmp_path / "hidden.png")
    samples.loc[masked[0], "mask_path"] = str(tmp_path / "hidden.png")
    count = len(samples)
    drop_hidden(tiles)
    assert len(tiles.test_data) == count - 1


def test_three_cells(mvtec_root: Path) -> None:
    options = accuracy.build_parser().parse_args(["folder", "--root", str(mvtec_root), "--printed"])
    cells = accuracy.grid(argparse.Namespace(**{**vars(options), "what": "folder"}))
    assert [cell.settings["printed"] for cell in cells] == list(PRINTED)
