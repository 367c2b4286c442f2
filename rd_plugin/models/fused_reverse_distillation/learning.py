# SPDX-License-Identifier: Apache-2.0
"""What a model learns from good images beside its weights: light before the training, statistics and fusion after."""

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from rd_plugin.callbacks import NormalStatistics, own_share, training_batches
from rd_plugin.components import held_back
from rd_plugin.synthetic import TwinGenerator, perlin_masks, spot_masks

from .evidence import EVIDENCE, Evidence
from .light import LightType

__all__ = ["LearnNormality", "describe"]

logger = logging.getLogger(__name__)

# Images that light is learned from, and held-back images that get twins, at most.
_LIGHT_IMAGES, _TWIN_IMAGES = 64, 64
_STRENGTHS = (0.0, 0.5, 1.0)
# Large anomalies and small ones.
_MASKS = (perlin_masks, spot_masks)


def _spread(indices: Sequence[int], count: int) -> list[int]:
    """At most so many of the indices, evenly spread."""
    step = max(1.0, len(indices) / count)
    return [indices[int(i * step)] for i in range(min(count, len(indices)))]


class LearnNormality(NormalStatistics):
    """Let :class:`~rd_plugin.models.fused_reverse_distillation.FusedReverseDistillationModel` learn from good images.

    Light is learned before the first step, from which on the networks see evened images. Statistics and weights are
    learned before each validation, and at the end of each epoch if there are none. Training images are all that is ever
    looked at.

    Args:
        light: Strength of evening in [0, 1], or ``"auto"``: that of 0, 0.5 and 1 under which teacher features of
            held-back images are most likely.
    """

    def __init__(self, light: LightType) -> None:
        self.light = light

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Learn from the training images, if the validation is part of a training that has begun."""
        # Before that the model is plain reverse distillation, which needs no statistics to predict.
        if not trainer.sanity_checking:
            super().on_validation_start(trainer, pl_module)

    # As for the statistics.
    @torch.inference_mode(mode=False)
    @torch.no_grad()
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Learn the usual light, unless a checkpoint brought it."""
        network: Any = pl_module.model
        if network.light.known:
            return
        # The same images in every process, so that all come to the same result.
        indices = _spread(range(len(trainer.train_dataloader.dataset)), _LIGHT_IMAGES)  # type: ignore[union-attr]
        batches = [batch.image for batch in training_batches(trainer, pl_module, indices)]
        network.light.learn(torch.cat([network.light.levels(images) for images in batches]))
        strength = self._strength(network, batches) if self.light == "auto" else float(self.light)
        network.light.strength.fill_(strength)
        logger.info("Light: brightness is evened with a strength of %g (light: %s).", strength, self.light)

    @staticmethod
    def _strength(network: Any, batches: Sequence[Tensor]) -> float:
        """The strength under which held-back images are most likely."""
        flags = held_back(range(sum(map(len, batches)))).to(batches[0].device).split([len(batch) for batch in batches])
        tried = {}
        for strength in _STRENGTHS:
            network.light.strength.fill_(strength)
            evidence = Evidence([stage.channels for stage in network.teacher.pyramid.targets]).to(batches[0].device)
            for images, flag in zip(batches, flags, strict=True):
                features = network.teacher(network.tiles(images))[: len(network.teacher.pyramid.distilled)]
                evidence.update_teacher(features, _for_tiles(flag, features))
            tried[strength] = evidence.teacher.finish()
        # NaN, where too few images were there to hold any back, is less than nothing: light then stays as it is.
        return min(tried, key=tried.__getitem__)

    def learn(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Learn statistics from all but the held-back images, weigh by those, and learn statistics from all."""
        module: Any = pl_module
        network = module.model
        reduce = partial(trainer.strategy.reduce, reduce_op="sum")
        evidence: Evidence = network.evidence
        evidence.reset()
        share, seen = own_share(trainer), 0
        for batch in training_batches(trainer, module, share):
            with trainer.precision_plugin.val_step_context():
                teacher, student = module.distill_batch(batch)
            places = range(
                share.start + seen * share.step, share.start + (seen + len(batch.image)) * share.step, share.step
            )
            seen += len(batch.image)
            evidence.update(teacher, student, _for_tiles(held_back(places).to(batch.image.device), teacher))
        evidence.finish(reduce)
        self._weigh(trainer, module, reduce)
        evidence.include_held_back()
        logger.info("Learned from good images: %s.", module.learned_settings())

    @staticmethod
    def _weigh(trainer: Trainer, module: Any, reduce: Any) -> None:
        """Learn the weights from held-back images and their twins."""
        network = module.model
        count = len(trainer.train_dataloader.dataset)  # type: ignore[union-attr]
        indices = _spread(held_back(range(count)).nonzero().flatten().tolist(), _TWIN_IMAGES)
        own = list(range(trainer.global_rank, len(indices), trainer.world_size))
        generator, found = TwinGenerator(), torch.empty(0)
        images = (
            image.unsqueeze(0)
            for batch in training_batches(trainer, module, [indices[place] for place in own])
            for image in batch.image
        )
        if not indices:
            return
        for place, image in zip(own, images, strict=False):
            # The same twins whichever process makes them, and nothing drawn that the training would have drawn.
            with torch.random.fork_rng():
                torch.manual_seed(place)
                twins = [generator(image, draw=draw)[0] for draw in _MASKS]
            with trainer.precision_plugin.val_step_context():
                features = network.distill(network.tiles(torch.cat([image, *twins])))
            # Tiles of one image side by side.
            maps = network.evidence(*features).unflatten(0, (1 + len(twins), -1)).transpose(1, 2).flatten(2, 3)
            found = found if len(found) else maps.new_zeros(len(indices), *maps.shape)
            found[place] = maps
        found = reduce(found)
        network.fusion.learn(found[:, 0], found[:, 1:].transpose(0, 1))


def _for_tiles(flags: Tensor, features: Sequence[Tensor]) -> Tensor:
    """Flags of images for each of their tiles, which follow one another."""
    return flags.repeat_interleave(len(features[0]) // len(flags))


def describe(network: Any) -> dict[str, Any]:
    """Return in plain numbers what a model has learned from good images beside its weights."""
    evidence, light = network.evidence, network.light
    if not evidence.known:
        return {}
    return {
        "light_strength": round(light.strength.item(), 4),
        "usual_brightness": round(light.reference.exp().item(), 4),
        "shares": {
            name: dict(zip(("mean", "covariance"), (round(share, 4) for share in part.shares.tolist()), strict=True))
            for name, part in (("teacher", evidence.teacher), ("residual", evidence.residual))
        },
        "weights": dict(zip(EVIDENCE, (round(weight, 4) for weight in network.fusion.weights.tolist()), strict=True)),
    }
