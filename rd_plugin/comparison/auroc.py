# SPDX-License-Identifier: Apache-2.0
"""Area under the ROC curve, of several models at once."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

__all__ = ["area_under_roc"]


def area_under_roc(scores: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """Return the area under the ROC curve by Mann and Whitney's U, in double precision; ties count half.

    Args:
        scores: Scores of any range, of shape ``(..., *labels.shape)``, such as ``(M, N)`` for ``M`` models.
        labels: Whether an image or pixel is anomalous, boolean.

    Returns:
        The areas, of shape ``(...)``.

    Raises:
        ValueError: If all labels are the same, or a score is not finite.

    Example:
        >>> area_under_roc([[0.1, 0.2, 0.3], [300, 200, 300]], [False, False, True]).tolist()
        [1.0, 0.75]
    """
    truth = np.asarray(labels, bool)
    found = np.asarray(scores)
    found = found.reshape(*found.shape[: found.ndim - truth.ndim], -1)
    truth = truth.ravel()
    if truth.all() or not truth.any():
        msg = f"all {truth.size} images or pixels are {'anomalous' if truth.all() else 'normal'}."
        raise ValueError(msg)
    if not np.isfinite(found).all():
        msg = f"{int((~np.isfinite(found)).sum())} of {found.size} scores are not finite."
        raise ValueError(msg)
    count = int(truth.sum())
    ranks = rankdata(found, axis=-1)[..., truth]
    return (ranks.sum(-1) - count * (count + 1) / 2) / (count * (truth.size - count))
