# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import torch
from anomalib.data import ImageBatch
from torch import nn

from rd_plugin.components import Region, RegionMask
from rd_plugin.data.region_pixels import pixels_inside, region_of

SQUARE = (((2.0, 1.0), (6.0, 1.0), (6.0, 3.0), (2.0, 3.0)),)


def test_maps_and_masks_hold_the_pixels_inside() -> None:
    maps, masks = torch.rand(3, 1, 4, 8), torch.rand(3, 4, 8) > 0.5
    batch = ImageBatch(image=torch.rand(3, 3, 4, 8), anomaly_map=maps, gt_mask=masks, pred_score=torch.rand(3))
    found = pixels_inside(batch, RegionMask(Region(8, 4, SQUARE)))
    assert torch.equal(found.anomaly_map.reshape(3, -1), maps[:, 0, 1:3, 2:6].reshape(3, -1))
    assert torch.equal(found.gt_mask.reshape(3, -1), masks[:, 1:3, 2:6].reshape(3, -1))
    assert found.pred_mask is None
    assert torch.equal(found.pred_score, batch.pred_score)
    # The batch itself stays as it is.
    assert batch.anomaly_map.shape[-2:] == batch.gt_mask.shape[-2:] == (4, 8)


def test_without_a_region_a_batch_is_whole() -> None:
    batch = ImageBatch(image=torch.rand(3, 3, 4, 8))
    assert pixels_inside(batch, None) is batch


def test_a_module_of_another_kind_has_no_region() -> None:
    assert region_of(nn.Module()) is None
    region = RegionMask(Region(8, 4, SQUARE))
    assert region_of(SimpleNamespace(model=SimpleNamespace(roi=region))) is region
