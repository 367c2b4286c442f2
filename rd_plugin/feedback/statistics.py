# SPDX-License-Identifier: Apache-2.0
"""More normal images in the statistics of a fused model, by the exact formulas for more samples."""

from collections.abc import Mapping, Sequence
from itertools import compress
from operator import not_
from typing import Any

import torch
from torch import Tensor

from rd_plugin.components import held_out
from rd_plugin.models.fused_reverse_distillation.statistics import highest_evidence

__all__ = ["Features", "add_images", "features_of"]

# Features of teacher and student for an image, or for its tiles.
Features = tuple[list[Tensor], list[Tensor]]


@torch.no_grad()
def features_of(module: Any, image: Tensor) -> Features:
    """Return the features of teacher and student for an image of shape ``(3, H, W)`` in [0, 1]."""
    network = module.model.eval()
    return network.distill(network.network_inputs(_prepared(module, image)))


@torch.no_grad()
def add_images(
    module: Any, sums: Mapping[str, Any], images: Sequence[Tensor], features: Sequence[Features], weigh: bool = True
) -> dict[str, Any]:
    """Add normal images to a model's statistics, and weight its kinds of evidence again.

    Networks, brightness, context and shrinkage do not change. Means and covariances become those of all images, old and
    new. One of four new images is added only after it has helped to weight the evidence, with what is kept of the old
    ones.

    Args:
        module: The model, which is changed.
        sums: What :class:`~rd_plugin.models.fused_reverse_distillation.statistics.FusedStatistics` computes.
        images: Images of shape ``(3, H, W)`` in [0, 1].
        features: What :func:`features_of` returned for each of them.
        weigh: Whether the weights change.

    Returns:
        The sums of all images, in the same form.
    """
    network = module.model.eval()
    evidence = network.evidence
    evidence.continue_from(sums["evidence"])
    apart = [weigh and flag for flag in held_out(range(len(images))).tolist()]
    for found in compress(features, map(not_, apart)):
        evidence.extend(*found)
    weighted = {name: sums[name] for name in ("normal", "twins")}
    if weigh:
        evidence.include_held_out(keep=True)
        pairs = (
            (_prepared(module, image), lambda found=found: found)
            for image, found in compress(zip(images, features, strict=True), apart)
        )
        for name, more in zip(weighted, highest_evidence(network, pairs), strict=True):
            weighted[name] = torch.cat([weighted[name], more])
        network.fusion.fit(*weighted.values())
        for found in compress(features, apart):
            evidence.extend(*found)
    kept = evidence.sums()
    evidence.include_held_out()
    return {"evidence": kept, **weighted}


def _prepared(module: Any, image: Tensor) -> Tensor:
    """An image as the network takes it, of shape ``(1, 3, H, W)``."""
    return module.model.aligned(module.pre_processor(image[None]) if module.pre_processor else image[None])
