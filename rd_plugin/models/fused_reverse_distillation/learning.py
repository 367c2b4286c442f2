# SPDX-License-Identifier: Apache-2.0
"""What a model learns from good images beside its weights: light before the training, statistics and fusion after."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from rd_plugin.callbacks import NormalStatistics, own_share, training_batches
from rd_plugin.components import held_back
from rd_plugin.synthetic import in_other_conditions, in_other_light

from .evidence import EVIDENCE, Evidence
from .light import LightType

__all__ = ["LearnNormality", "condition_images", "describe", "show_conditions"]

logger = logging.getLogger(__name__)

# Images, at most, that light is learned from, that are taken in other conditions, and that weigh the evidence.
_LIGHT_IMAGES, _CONDITION_IMAGES, _WEIGHING_IMAGES = 48, 32, 128
_STRENGTHS = (0.0, 1.0)


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
        light: Strength of evening in [0, 1], or ``"auto"``: that of 0 and 1 under which teacher features of
            held-back images are most likely, as they are and in other light.
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
        """The strength under which held-back images are most likely, as they are and in other light."""
        with _same_for_all():
            other = [network.light.normalized(in_other_light(network.light.raw(images))) for images in batches]
        flags = held_back(range(sum(map(len, batches)))).to(batches[0].device).split([len(batch) for batch in batches])
        tried = {}
        for strength in _STRENGTHS:
            network.light.strength.fill_(strength)
            evidence = Evidence([stage.channels for stage in network.teacher.pyramid.targets]).to(batches[0].device)
            for images, flag in zip([*batches, *other], [*flags, *flags], strict=True):
                features = network.teacher(network.tiles(images))[: len(network.teacher.pyramid.distilled)]
                evidence.update_teacher(features, _for_tiles(flag, features))
            tried[strength] = evidence.teacher.finish()
        # NaN, where too few images were there to hold any back, is less than nothing: light then stays as it is.
        return min(tried, key=tried.__getitem__)

    def learn(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Learn statistics from all but the held-back images, weigh by those, and learn statistics from all."""
        module: Any = pl_module
        network = module.model
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
        # What follows is done on the same images in every process, so that all come to the same result.
        flags = held_back(range(len(trainer.train_dataloader.dataset)))  # type: ignore[union-attr]
        shown = training_batches(trainer, module, condition_images(flags))
        show_conditions(network, (batch.image for batch in shown), trainer.precision_plugin.val_step_context)
        evidence.finish(partial(trainer.strategy.reduce, reduce_op="sum"))
        self._weigh(trainer, module, flags.nonzero().flatten().tolist())
        evidence.include_held_back()
        logger.info("Learned from good images: %s.", module.learned_settings())

    @staticmethod
    def _weigh(trainer: Trainer, module: Any, indices: Sequence[int]) -> None:
        """Learn the weights from some of the held-back images, given by their places."""
        found = []
        for batch in training_batches(trainer, module, _spread(indices, _WEIGHING_IMAGES)):
            with trainer.precision_plugin.val_step_context():
                features = module.distill_batch(batch)
            # Tiles of one image side by side.
            maps = module.model.evidence(*features).unflatten(0, (len(batch.image), -1))
            found.append(maps.transpose(1, 2).flatten(2, 3))
        if found:
            fusion = module.model.fusion
            fusion.learn(torch.cat(found))
            # Kept features, of a process's own share, are rounded otherwise than those that are computed here.
            fusion.weights = trainer.strategy.broadcast(fusion.weights)


def condition_images(held_back: Tensor) -> list[int]:
    """Return the places of images that show what other conditions do, of flags ``(N,)`` of which are held back."""
    return _spread((~held_back).nonzero().flatten().tolist(), _CONDITION_IMAGES)


def show_conditions(
    network: Any, batches: Iterable[Tensor], context: Callable[[], AbstractContextManager] = nullcontext
) -> None:
    """Let a model learn what other conditions do to features.

    Args:
        network: The model, in evaluation mode.
        batches: Normalized good images of shapes ``(N, 3, H, W)``.
        context: Returns the context that the networks run in.
    """
    with _same_for_all():
        for image in (image for images in batches for image in images.split(1)):
            changed = network.light.normalized(in_other_conditions(network.light.raw(image)))
            with context():
                teacher, student = network.distill(network.tiles(torch.cat([image, changed])))
            network.evidence.update_conditions(teacher, student, len(teacher[0]) // (1 + len(changed)))


@contextmanager
def _same_for_all() -> Iterator[None]:
    """Random numbers that are the same in every process, and take nothing from those of the training."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


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
            for name, part in evidence.gaussians.items()
            if part is not evidence.image
        },
        "weights": dict(zip(EVIDENCE, (round(weight, 4) for weight in network.fusion.weights.tolist()), strict=True)),
    }
