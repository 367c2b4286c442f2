# SPDX-License-Identifier: Apache-2.0
"""More normal images in the statistics of a fused model, by the exact formulas for more samples."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rd_plugin.components import held_out
from rd_plugin.models.fused_reverse_distillation.statistics import highest_evidence

__all__ = ["add_images"]


@torch.no_grad()
def add_images(module: Any, sums: Mapping[str, Any], images: Sequence[Tensor]) -> dict[str, Any]:
    """Add normal images to a model's statistics, and weight its kinds of evidence again.

    Networks, brightness, context and shrinkage stay. Means and covariances become those of all images, old and new. One
    of four new images is added only after it has helped to weight the evidence, with what is kept of the old ones.

    Args:
        module: The model, which is changed.
        sums: What :class:`~rd_plugin.models.fused_reverse_distillation.statistics.FusedStatistics` keeps in a
            checkpoint.
        images: Images of shape ``(3, H, W)`` in [0, 1].

    Returns:
        The sums of all images, in the same form.
    """
    network = module.model.eval()
    evidence = network.evidence
    evidence.continue_from(sums["evidence"])
    apart = held_out(range(len(images))).tolist()

    def add(wanted: bool) -> None:
        for image in _prepared(module, [image for image, flag in zip(images, apart, strict=True) if flag == wanted]):
            evidence.extend(*network.distill(network.network_inputs(image)))

    add(wanted=False)
    evidence.include_held_out(keep=True)
    weighing = _prepared(module, [image for image, flag in zip(images, apart, strict=True) if flag])
    pairs = ((image, lambda image=image: network.distill(network.network_inputs(image))) for image in weighing)
    normal, twins = highest_evidence(network, pairs)
    weighted = {"normal": torch.cat([sums["normal"], normal]), "twins": torch.cat([sums["twins"], twins])}
    network.fusion.fit(weighted["normal"], weighted["twins"])
    add(wanted=True)
    kept = evidence.sums()
    evidence.include_held_out()
    return {"evidence": kept, **weighted}


def _prepared(module: Any, images: Sequence[Tensor]) -> Iterator[Tensor]:
    """Images one by one as the network takes them, of shape ``(1, 3, H, W)``."""
    for image in images:
        yield module.model.aligned(module.pre_processor(image[None]) if module.pre_processor else image[None])
