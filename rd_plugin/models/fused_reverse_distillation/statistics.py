# SPDX-License-Identifier: Apache-2.0
"""What a model computes from normal images besides its weights: brightness before the training, the rest after it."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from rd_plugin.callbacks import NormalStatistics, training_batches, training_features
from rd_plugin.components import held_out, perturbed_places, spread
from rd_plugin.data.part_names import group_by_part
from rd_plugin.synthetic import TwinGenerator, change_brightness, perturb, shift, spot_masks

from .brightness import BrightnessType
from .evidence import Evidence, evidence_for

__all__ = [
    "FusedStatistics",
    "compute_perturbations",
    "describe",
    "highest_evidence",
    "kept_places",
    "weight_positions",
]

logger = logging.getLogger(__name__)

# Images, at most: those that the usual brightness is computed from, that kinds of evidence are weighted by, that
# positions are weighted by, and that show what pictures as a whole have in common.
_BRIGHTNESS_IMAGES, _WEIGHTING_IMAGES, _SHIFTED_IMAGES, _CONTEXT_IMAGES = 48, 64, 32, 512
# Copies of an image: twins that weights are fitted to, and shifted ones.
_TWINS, _SHIFTS = 2, 4
_STRENGTHS = (0.0, 1.0)


class FusedStatistics(NormalStatistics):
    """Compute what a fused model compares images with, from training images only.

    The usual brightness is computed before the first step, from which on the networks see normalized images. Statistics
    and weights are computed before each validation, and at the end of each epoch if there are none. Perturbed copies of
    training images show what is no defect, and twins with small synthetic defects show which kind of evidence detects
    one.

    Args:
        brightness: Strength of the normalization in [0, 1], or ``"auto"``: that of 0 and 1 under which teacher features
            of held-out images are most likely, as they are and under other lighting.
        most_bytes: How much memory statistics may take, if each of several parts has its own.

    Attributes:
        sums: What the last statistics were computed from: the sums of each kind of evidence over all images, and the
            highest values that weighted the kinds. Checkpoints keep it; empty before the first statistics, and if each
            of several parts has its own.
    """

    def __init__(self, brightness: BrightnessType, most_bytes: int = 2 * 2**30) -> None:
        self.brightness, self.most_bytes = brightness, most_bytes
        self.sums: dict[str, Any] = {}

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute the statistics, if the validation is part of a training that has begun."""
        # Before that the model is plain reverse distillation, which needs no statistics to predict.
        if not trainer.sanity_checking:
            super().on_validation_start(trainer, pl_module)

    # As for the statistics.
    @torch.inference_mode(mode=False)
    @torch.no_grad()
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute the usual brightness, unless a checkpoint brought it."""
        network: Any = pl_module.model
        if network.brightness.is_fitted:
            return
        # The same images in every process, so that all come to the same result.
        places = spread(range(len(trainer.train_dataloader.dataset)), _BRIGHTNESS_IMAGES)  # type: ignore[union-attr]
        batches = [batch.image for batch in training_batches(trainer, pl_module, places)]
        network.brightness.fit(torch.cat([network.brightness.levels(network.within_roi(images)) for images in batches]))
        strength = self._strength(network, batches) if self.brightness == "auto" else float(self.brightness)
        network.brightness.strength.fill_(strength)
        logger.info("Brightness is normalized with a strength of %g (brightness: %s).", strength, self.brightness)

    @staticmethod
    def _strength(network: Any, batches: Sequence[Tensor]) -> float:
        """The strength under which held-out images are most likely, as they are and under other lighting."""
        brightness = network.brightness
        with _same_for_all():
            other = [brightness.normalized(change_brightness(brightness.raw(images))) for images in batches]
        flags = held_out(range(sum(map(len, batches)))).to(batches[0].device).split([len(batch) for batch in batches])
        tried = {}
        for strength in _STRENGTHS:
            brightness.strength.fill_(strength)
            evidence = evidence_for(network.teacher).to(batches[0].device)
            for images, flag in zip([*batches, *other], [*flags, *flags], strict=True):
                features = network.teacher(network.network_inputs(images))[: len(network.teacher.pyramid.distilled)]
                evidence.update_teacher(features, _for_tiles(flag, features))
            tried[strength] = evidence.teacher.compute()
        # NaN, where too few images were there to hold any out, is less than nothing: brightness then stays as it is.
        return min(tried, key=tried.__getitem__)

    def compute(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute statistics from all but the held-out images, weights by those, and statistics from all."""
        module: Any = pl_module
        dataset: Any = trainer.train_dataloader.dataset  # type: ignore[union-attr]
        parts: tuple[str, ...] = module.model.parts
        groups = group_by_part(dataset.samples["image_path"], parts) if parts else {}
        # First the part with most images, whose context has most components: no other takes more memory.
        for part, places in sorted(groups.items(), key=lambda group: -len(group[1])):
            with module.model.as_part(part):
                self._compute(trainer, module, places)
                taken = sum(buffer.nbytes for buffer in module.model.evidence.buffers())
            if taken * len(parts) > self.most_bytes:
                logger.warning(
                    "statistics_bytes %d is less than the %d bytes that statistics of each of %d parts take, so all "
                    "parts share statistics, which costs accuracy: set model.statistics_bytes to %d or more.",
                    self.most_bytes,
                    taken * len(parts),
                    len(parts),
                    taken * len(parts),
                )
                module.model.set_parts(())
                break
        if module.model.parts:
            self.sums = {}
        else:
            self._compute(trainer, module, range(len(dataset)))
        learned = module.learned_settings()
        for part, found in (learned if module.model.parts else {"": learned}).items():
            if not found:
                # All were damaged, and left out.
                logger.warning("%s has no training image: its map is that of the cosine, without statistics.", part)
                continue
            weights = ", ".join(f"{kind} {weight:.2g}" for kind, weight in found["weights"].items())
            of_part = f" of {part}" if part else ""
            logger.info("Weights of the kinds of evidence%s, fitted to small synthetic defects: %s.", of_part, weights)
        logger.debug("Statistics of normal images: %s.", learned)

    def _compute(self, trainer: Trainer, module: Any, chosen: Sequence[int]) -> None:
        """Do so with some training images, given by their indices in the data set."""
        network = module.model
        evidence: Evidence = network.evidence
        images = len(chosen)
        share = range(trainer.global_rank, images, trainer.world_size)
        reduce: Callable[[Tensor], Tensor] = partial(trainer.strategy.reduce, reduce_op="sum")
        if images < trainer.world_size:
            # Some process would have none, so each computes the statistics of all by itself.
            share, reduce = range(images), torch.clone
        kept = kept_places(images)
        evidence.reset()
        seen, tiles = 0, 1
        for count, teacher, student in training_features(trainer, module, [chosen[place] for place in share]):
            # A batch may be an item of the data set, which then has fewer than there are images.
            places = [share.start + (seen + index) * share.step for index in range(count)]
            seen += count
            tiles = len(teacher[0]) // count
            flags = held_out(places).to(teacher[0].device)
            slots = torch.tensor([kept.get(place, -1) for place in places], device=flags.device)
            # The tiles of an image follow one another.
            inner = torch.arange(tiles, device=slots.device)
            slots = torch.where(slots.unsqueeze(1) < 0, -1, slots.unsqueeze(1) * tiles + inner).flatten()
            evidence.update(teacher, student, _for_tiles(flags, teacher), slots, len(kept) * tiles)
        evidence.fit_context(held_out(list(kept)).repeat_interleave(tiles).to(module.device), reduce)
        # What follows is done on the same images in every process, so that all come to the same result.
        perturbed = training_batches(trainer, module, [chosen[place] for place in perturbed_places(images)])
        compute_perturbations(network, (batch.image for batch in perturbed), trainer.precision_plugin.val_step_context)
        evidence.compute(reduce)
        places = held_out(range(images)).nonzero().flatten().tolist()
        weighted = self._weight(trainer, module, [chosen[place] for place in places], reduce)
        self.sums = {"evidence": evidence.sums(), **weighted}
        evidence.include_held_out()

    @staticmethod
    def _weight(
        trainer: Trainer, module: Any, places: Sequence[int], reduce: Callable[[Tensor], Tensor]
    ) -> dict[str, Tensor]:
        """Compute contrast and weights from some of the held-out images, given by their places, and copies of them."""
        network = module.model
        chosen = spread(places, _WEIGHTING_IMAGES)
        # One after the other, once there is no contrast.
        evidence = (network.find_evidence(*features) for _, *features in training_features(trainer, module, chosen))
        network.evidence.fit_contrast(((found, network.inside(found)) for found in evidence), reduce)
        context = trainer.precision_plugin.val_step_context
        # The same images in every process, so that all come to the same result.
        shifted = training_batches(trainer, module, spread(chosen, _SHIFTED_IMAGES))
        weight_positions(network, (batch.image for batch in shifted), context)
        batches = training_batches(trainer, module, chosen)
        pairs = ((batch.image, partial(module.distill_batch, batch)) for batch in batches)
        normal, twins = highest_evidence(network, pairs, context)
        if len(normal):
            network.fusion.fit(normal, twins)
            # Kept features, of a process's own share, are rounded otherwise than those that are computed here.
            network.fusion.weights = trainer.strategy.broadcast(network.fusion.weights)
        return {"normal": normal, "twins": twins}

    def state_dict(self) -> dict[str, Any]:
        """Return what was added up over the training images, so that others can be added to it later."""
        return self.sums

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what a checkpoint holds.

        Args:
            state_dict: What :meth:`state_dict` returned.
        """
        self.sums = state_dict


def highest_evidence(
    network: Any,
    batches: Iterable[tuple[Tensor, Callable[[], tuple[list[Tensor], list[Tensor]]]]],
    context: Callable[[], AbstractContextManager] = nullcontext,
) -> tuple[Tensor, Tensor]:
    """Return the highest value of each kind of evidence in normal images, and in twins of them with synthetic defects.

    Args:
        network: The model, in evaluation mode.
        batches: Normalized images of shapes ``(N, 3, H, W)``, and what returns the features of teacher and student for
            them.
        context: Returns the context that the networks run in.

    Returns:
        Two tensors of shapes ``(N, kinds)`` and ``(M, kinds)``.
    """
    generate, kinds = TwinGenerator(), len(network.evidence.kinds)
    normal, twins = [torch.empty(0, kinds)], [torch.empty(0, kinds)]

    def highest(features: tuple[list[Tensor], list[Tensor]], count: int) -> Tensor:
        """Highest value of each kind in an image, of all its tiles."""
        return network.find_evidence(*features).flatten(2).amax(2).unflatten(0, (count, -1)).amax(1)

    with _same_for_all():
        for images, distill in batches:
            with context():
                normal.append(highest(distill(), len(images)))
                # Textures are taken from what is inside, too.
                inner = network.within_roi(images)
                for _ in range(_TWINS):
                    changed = generate(inner, draw=lambda places: spot_masks(network.within_roi(places)))[0]
                    # As a camera would see them.
                    changed = network.brightness.normalized(network.brightness.raw(changed).clamp(0, 1))
                    twins.append(highest(network.distill(network.network_inputs(changed)), len(images)))
    return torch.cat([part.to(normal[-1]) for part in normal]), torch.cat([part.to(twins[-1]) for part in twins])


def kept_places(images: int) -> dict[int, int]:
    """Return which of so many training images show what pictures have in common, each with its number among them."""
    return {place: slot for slot, place in enumerate(spread(range(images), _CONTEXT_IMAGES))}


def compute_perturbations(
    network: Any, batches: Iterable[Tensor], context: Callable[[], AbstractContextManager] = nullcontext
) -> None:
    """Add up what perturbations do to features.

    Args:
        network: The model, in evaluation mode.
        batches: Normalized images of normal parts, of shapes ``(N, 3, H, W)``.
        context: Returns the context that the networks run in.
    """
    for teacher, student, copies in _changed(network, batches, perturb, context):
        network.evidence.update_perturbations(teacher, student, len(teacher[0]) // copies)


def weight_positions(
    network: Any, batches: Iterable[Tensor], context: Callable[[], AbstractContextManager] = nullcontext
) -> None:
    """Weight positions by what shifts do to the evidence there.

    Args:
        network: The model, in evaluation mode, with statistics of other images.
        batches: Normalized images of normal parts, of shapes ``(N, 3, H, W)``.
        context: Returns the context that the networks run in.
    """
    if not network.evidence.has_context:
        return
    positions = network.evidence.positions
    for teacher, student, copies in _changed(network, batches, _shifted, context):
        evidence = network.find_evidence(teacher, student)
        positions.update(*evidence.tensor_split([len(evidence) // copies]))
    positions.compute()


def _shifted(image: Tensor) -> Tensor:
    return shift(image.repeat(_SHIFTS, 1, 1, 1))


def _changed(
    network: Any,
    batches: Iterable[Tensor],
    change: Callable[[Tensor], Tensor],
    context: Callable[[], AbstractContextManager],
) -> Iterator[tuple[list[Tensor], list[Tensor], int]]:
    """Features of teacher and student for each image and its changed copies, and how many these are together."""
    with _same_for_all():
        for image in (image for images in batches for image in images.split(1)):
            image = network.within_roi(image)
            changed = network.aligned(network.brightness.normalized(change(network.brightness.raw(image))))
            with context():
                teacher, student = network.distill(network.network_inputs(torch.cat([image, changed])))
            yield teacher, student, 1 + len(changed)


@contextmanager
def _same_for_all() -> Iterator[None]:
    """Random numbers that are the same in every process, and do not change those of the training."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def _for_tiles(flags: Tensor, features: Sequence[Tensor]) -> Tensor:
    """Flags of images for each of their tiles, which follow one another."""
    return flags.repeat_interleave(len(features[0]) // len(flags))


def describe(network: Any) -> dict[str, Any]:
    """Return in plain numbers what a model has computed from normal images in addition to its weights."""
    evidence, brightness = network.evidence, network.brightness
    if not evidence.is_fitted:
        return {}
    return {
        "brightness_strength": round(brightness.strength.item(), 4),
        "usual_brightness": round(brightness.reference.exp().item(), 4),
        "shrinkage": {
            name: dict(
                zip(
                    ("mean", "covariance", "perturbations"),
                    (round(part, 4) for part in kind.shrinkage.tolist()),
                    strict=True,
                )
            )
            for name, kind in evidence.gaussians.items()
            if kind is not evidence.image
        },
        "weights": dict(
            zip(evidence.kinds, (round(weight, 4) for weight in network.fusion.weights.tolist()), strict=True)
        ),
        **_position_weights(evidence),
    }


def _position_weights(evidence: Evidence) -> dict[str, dict[str, float]]:
    """The mean weight of positions, by kind of evidence."""
    if not evidence.has_context or not evidence.positions.weights.numel():
        return {}
    means = evidence.positions.weights.mean((1, 2)).tolist()
    return {"position_weights": {kind: round(mean, 4) for kind, mean in zip(evidence.kinds, means, strict=True)}}
