# SPDX-License-Identifier: Apache-2.0
"""Some images of a batch."""

from types import SimpleNamespace

import pytest
import torch
from anomalib.data import ImageBatch
from torch.utils.data import DataLoader, DistributedSampler

from rd_plugin.data.batches import some_of, without_repeats


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


@pytest.mark.parametrize("count", range(4, 14))
@pytest.mark.parametrize("testing", [True, False])
def test_each_image_is_evaluated_by_one_process(count: int, testing: bool) -> None:
    found = []
    for rank in range(4):
        loader = DataLoader(range(count), 2, sampler=DistributedSampler(range(count), 4, rank, shuffle=False))
        loaders = {"test_dataloaders": loader} if testing else {"val_dataloaders": [loader]}
        trainer = SimpleNamespace(world_size=4, testing=testing, **loaders)
        own = []
        for index, places in enumerate(loader):
            batch = ImageBatch(image=torch.zeros(len(places), 3, 4, 4), image_path=[str(int(p)) for p in places])
            some = without_repeats(trainer, batch, index)
            own += [] if some is None else some.image_path
        # None waits for others in vain.
        assert own
        found += own
    assert sorted(map(int, found)) == list(range(count))


def test_one_process_evaluates_all() -> None:
    batch = ImageBatch(image=torch.zeros(2, 3, 4, 4))
    assert without_repeats(SimpleNamespace(world_size=1), batch, 7) is batch
    # Loaders without Lightning's sampler are the user's own.
    trainer = SimpleNamespace(world_size=2, testing=False, val_dataloaders=DataLoader(range(3)))
    assert without_repeats(trainer, batch, 7) is batch
