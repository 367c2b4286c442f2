# SPDX-License-Identifier: Apache-2.0
"""How an image becomes a score and a label: check, pre-processor, network, post-processor."""

from anomalib.data import InferenceBatch
from torch import Tensor, nn

from rd_plugin.components import FINITE_RANGE, RAW_RANGE, check_range, in_range, mask_invalid

from .torch_model import DistillationModel

__all__ = ["predict"]


def predict(
    images: Tensor, pre_processor: nn.Module | None, network: DistillationModel, post_processor: nn.Module | None
) -> InferenceBatch:
    """Predict images; an export computes this, too.

    Args:
        images: Images of shape ``(N, 3, H, W)`` in [0, 1]; normalized ones if there is no pre-processor.
        pre_processor: Resizes and normalizes.
        network: Gives maps and scores.
        post_processor: Compares them with its thresholds.

    Returns:
        Scores and labels of shape ``(N, 1)``, maps and masks of shape ``(N, 1, H', W')`` in the pre-processor's size.
        An image that holds NaN gets NaN as score and map and counts as anomalous.

    Raises:
        TypeError: If the images are of another type than the weights.
        ValueError: If they are of another shape or range.
    """
    bounds = RAW_RANGE if pre_processor else FINITE_RANGE
    network.check(images)
    check_range(images, bounds)
    predictions = network.predict(pre_processor(images) if pre_processor else images)
    if post_processor:
        predictions = post_processor(predictions)
    # Not before the post-processor, in whose clamp OpenVINO makes 0 of NaN, which is normal.
    return mask_invalid(predictions, in_range(images, bounds))
