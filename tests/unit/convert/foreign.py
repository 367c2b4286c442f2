# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of other programs, with random but fixed weights."""

import json
from collections.abc import Callable, Collection
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from anomalib.models import ReverseDistillation as Theirs
from anomalib.models.image.reverse_distillation.anomaly_map import AnomalyMapGenerationMode
from lightning.pytorch import Trainer
from torch import nn
from torch.nn import functional as F  # noqa: N812

from ...golden import fill as golden_numbers

# (height, width): neither anomalib's default nor square, so that a lost pre-processor shows.
SIZE = (64, 96)
THRESHOLDS = {
    "_image_threshold": 1.5,
    "_pixel_threshold": 1.25,
    "image_min": 0.5,
    "image_max": 2.5,
    "pixel_min": 0.25,
    "pixel_max": 2.25,
}


def fill(module: nn.Module, seed: int = 0) -> nn.Module:
    """Draw every weight and every batch norm's statistics, none of them at its default."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if name.endswith("num_batches_tracked"):
                tensor.fill_(7)
            elif tensor.dim() > 1:
                tensor.normal_(0.0, (2.0 / tensor[0].numel()) ** 0.5, generator=generator)
            else:
                center = 1.0 if name.endswith(("weight", "running_var")) else 0.0
                tensor.uniform_(center - 0.25, center + 0.25, generator=generator)
    return module


def save(model, path: Path, **hyper_parameters) -> Path:
    """Write a model as Lightning does; ``hyper_parameters`` are those that it shall say it was built with."""
    model.hparams.update(hyper_parameters)
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(path)
    return path


def read_theirs(path: Path) -> dict:
    """Read a checkpoint of anomalib's model."""
    with torch.serialization.safe_globals([AnomalyMapGenerationMode]):
        return torch.load(path, weights_only=True)


def build_theirs(backbone: str = "resnet18", mode: str = "add", **components):
    """anomalib's own model, as it is after training."""
    components.setdefault("pre_processor", Theirs.configure_pre_processor(SIZE))
    model = Theirs(
        backbone=backbone,
        pre_trained=False,
        anomaly_map_mode=AnomalyMapGenerationMode(mode),
        **components,
    )
    fill(model.model)
    if model.post_processor is not None:
        for name, value in THRESHOLDS.items():
            getattr(model.post_processor, name).fill_(value)
    return model.eval()


def golden_parts(golden: Path, case: str, names: Collection[str]) -> dict[str, dict[str, torch.Tensor]]:
    """State dicts of a reference case, by the names that its authors' program gives its modules."""
    parts: dict[str, dict[str, torch.Tensor]] = {name: {} for name in names}
    for name, shape in json.loads((golden / f"{case}.json").read_text()).items():
        part, _, rest = name.partition(".")
        if part in parts:
            parts[part][rest] = torch.from_numpy(np.asarray(golden_numbers.tensor(name, tuple(shape))))
    return parts


def check_refused(
    convert: Callable, tmp_path: Path, source: Path, message: str, *args, error: type = ValueError, **arguments
) -> None:
    """A conversion is refused with a message, and leaves nothing in the folder."""
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error, match=message):
        convert(source, tmp_path / "ours.ckpt", *args, **arguments)
    assert sorted(tmp_path.iterdir()) == before


class ExpertStudent(nn.Module):
    """Student of RD with Expert's authors, written from the paper's formulas; anomalib's model lends the rest of it."""

    def __init__(self, theirs: nn.Module) -> None:
        super().__init__()
        self.bn, self.decoder = theirs.bottleneck, theirs.decoder
        scales = list(pairwise((64, 128, 256)))
        # Halving a size bilinearly is to take the mean of every four.
        halved = nn.AvgPool2d(2)
        self.conv1x1_downsample_dim = self._convs(
            [(halved, nn.Conv2d(fine, dim, 1, bias=False)) for fine, dim in scales]
        )
        self.fuse_encoder = self._convs([(nn.Conv2d(dim, dim, 3, padding=1, bias=False),) for _, dim in scales])
        self.conv3x3_simattn = self._convs([(nn.Conv2d(dim, dim, 3, padding=1, bias=False),) for _, dim in scales])
        self.fuse_skip = self._convs([(nn.Conv2d(2 * dim, dim, 3, padding=1, bias=False),) for _, dim in scales])
        for seed, part in enumerate(("conv1x1_downsample_dim", "fuse_encoder", "conv3x3_simattn", "fuse_skip")):
            fill(getattr(self, part), seed=10 + seed)

    @staticmethod
    def _convs(beginnings) -> nn.ModuleList:
        """Layers that end in batch norm and ReLU, fine to coarse."""
        return nn.ModuleList(
            nn.Sequential(*layers, nn.BatchNorm2d(layers[-1].out_channels), nn.ReLU()) for layers in beginnings
        )

    def forward(self, features, guided):
        state = self.decoder.layer1(self.bn(features))
        rebuilt = [state]
        for scale, stage in ((1, self.decoder.layer2), (0, self.decoder.layer3)):
            teacher, finer = features[scale + 1], features[scale]
            injected = self.fuse_encoder[scale](teacher + self.conv1x1_downsample_dim[scale](finer))
            if guided:
                similarity = F.cosine_similarity(state, teacher).unsqueeze(1)
                injected = self.conv3x3_simattn[scale](injected * similarity + state * (1 - similarity))
            state = stage(self.fuse_skip[scale](torch.cat([state, injected], dim=1)))
            rebuilt.insert(0, state)
        return rebuilt


class Intruder:
    """Creates a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return open, (str(self.trace), "w")
