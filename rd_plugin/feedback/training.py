# SPDX-License-Identifier: Apache-2.0
"""A few more training steps, on new good images and on those of the training."""

import random
import warnings
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from anomalib.data.utils import LabelName, Split
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.seed import isolate_rng
from torch import nn
from torch.utils.data import DataLoader

from rd_plugin.components import MahalanobisDeviation
from rd_plugin.data.parts_folder import PartsFolderDataset

__all__ = ["train_further"]

_BATCH = 16
# Share of the training's learning rates.
_RATE = 0.1
_RATES = ("learning_rate", "teacher_learning_rate", "projection_learning_rate")


def train_further(module: Any, new: Sequence[Path], old: Sequence[Path], steps: int) -> None:
    """Train a model for a few steps; the same images and steps give the same weights.

    Learning rates are a tenth of those of the training, and the optimizer starts again. Half of each batch are old
    images, if there are any. Running statistics of batch normalization do not change, so that a few images cannot
    replace the statistics of many.

    Args:
        module: A model as its checkpoint has it, which is changed.
        new: Good images.
        old: Images that it was trained on.
        steps: Number of steps, of 16 images each.

    Raises:
        OSError: If pre-trained weights are needed that cannot be read.
        ValueError: If an image is bad, or the model compares with statistics of training images and none are given.
    """
    if isinstance(module.model.deviation, MahalanobisDeviation) and not old:
        msg = (
            "this model compares with statistics of its training images (deviation 'mahalanobis'), which must be "
            "computed again: give training, the folder of the images that it was trained on."
        )
        raise ValueError(msg)
    for name in filter(module.__dict__.__contains__, _RATES):
        setattr(module, name, _RATE * getattr(module, name))
    module.train()
    for part in module.model.modules():
        if isinstance(part, nn.BatchNorm2d):
            # The teacher of RD with Expert is in training mode during a step.
            part.eval().momentum = 0.0
    files = [*new, *old]
    table = pd.DataFrame({"image_path": map(str, files), "label_index": int(LabelName.NORMAL), "mask_path": ""})
    table["split"] = Split.TRAIN.value
    table.attrs["task"] = "classification"
    dataset = PartsFolderDataset("update", table)
    with isolate_rng(include_cuda=False), TemporaryDirectory() as folder:
        torch.manual_seed(0)
        np.random.seed(0)  # libraries draw from this generator
        random.seed(0)
        places = _drawn(range(len(new)), range(len(new), len(files)))
        trainer = Trainer(
            default_root_dir=Path(folder, "run"),
            accelerator="cpu",
            max_epochs=1,
            limit_val_batches=0,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        order = list(islice(places, steps * _BATCH))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Found .* in eval mode at the start of training")
            trainer.fit(module, DataLoader(dataset, _BATCH, sampler=order, collate_fn=dataset.collate_fn))
    module.eval()


def _drawn(new: range, old: range) -> Iterator[int]:
    """Places of new and old images in turn, each drawn once before any is drawn again."""
    sides = [_shuffled(side) for side in (new, old) if side]
    while True:
        yield from map(next, sides)


def _shuffled(places: range) -> Iterator[int]:
    while True:
        yield from (places[index] for index in torch.randperm(len(places)).tolist())
