# SPDX-License-Identifier: Apache-2.0
"""From an image to its score and label: check, pre-processor, network, post-processor."""

from anomalib.data import InferenceBatch
from torch import Tensor, nn

from rd_plugin.components import FINITE_RANGE, RAW_RANGE, AlignedBatch, check_range, in_range, mask_invalid

from .torch_model import DistillationModel

__all__ = ["predict"]


def predict(
    images: Tensor, pre_processor: nn.Module | None, network: DistillationModel, post_processor: nn.Module | None
) -> InferenceBatch | AlignedBatch:
    """Predict images, in the engine and in exports.

    Args:
        images: Images of shape ``(N, 3, H, W)`` in [0, 1]; normalized ones if there is no pre-processor.
        pre_processor: Resizes and normalizes.
        network: Computes maps and scores.
        post_processor: Compares them with its thresholds.

    Returns:
        Scores and labels of shape ``(N, 1)``, maps and masks of shape ``(N, 1, H', W')`` in the pre-processor's size.
        With an alignment, where the parts are, too, as :meth:`~rd_plugin.components.Registration.packed` returns it.
        An image that holds NaN has NaN as score and map, and counts as anomalous.

    Raises:
        TypeError: If the images have another type than the weights.
        ValueError: If they have another shape or range.
    """
    bounds = RAW_RANGE if pre_processor else FINITE_RANGE
    network.check(images)
    check_range(images, bounds)
    predictions = network.predict(pre_processor(images) if pre_processor else images)
    registration = getattr(predictions, "registration", None)
    if post_processor:
        predictions = post_processor(predictions)
    if registration is not None:
        predictions = AlignedBatch(**{**predictions._asdict(), "registration": registration})
    # After the post-processor, since OpenVINO's clamp in it converts NaN to 0, which would be normal.
    return mask_invalid(predictions, in_range(images, bounds))
