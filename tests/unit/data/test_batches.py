# SPDX-License-Identifier: Apache-2.0
"""Some images of a batch."""

import torch
from anomalib.data import ImageBatch

from rd_plugin.data.batches import some_of


def test_everything_follows_the_image() -> None:
    batch = ImageBatch(
        image=torch.arange(3.0).view(3, 1, 1, 1).expand(3, 3, 4, 4),
        gt_label=torch.tensor([0, 1, 0]),
        anomaly_map=torch.arange(3.0).view(3, 1, 1, 1).expand(3, 1, 4, 4),
        image_path=["a", "b", "c"],
    )
    some = some_of(batch, [2, 1])
    assert some.image_path == ["c", "b"]
    assert some.image[:, 0, 0, 0].tolist() == some.anomaly_map[:, 0, 0].tolist() == [2, 1]
    assert some.gt_label.tolist() == [False, True]
    assert some.gt_mask is None
