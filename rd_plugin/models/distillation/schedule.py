# SPDX-License-Identifier: Apache-2.0
"""The learning rate of each step in Dinomaly: a short warm-up, then half a cosine."""

import math

__all__ = ["warm_cosine"]

# Steps of the warm-up, at most this share of a short training, and the rate at the end as a share of the highest.
_WARM_UP, _MOST, _LAST = 100, 0.1, 0.1


def warm_cosine(step: int, steps: int) -> float:
    """Return the learning rate of a step as a share of the highest.

    Args:
        step: Steps made so far.
        steps: Steps of the training.

    Returns:
        Share in [0, 1]: 0 at the first step, 1 after the warm-up, 0.1 at the end and beyond.

    Example:
        >>> [round(warm_cosine(step, 10_000), 2) for step in (0, 50, 99, 5050, 10_000)]
        [0.0, 0.51, 1.0, 0.55, 0.1]
    """
    warm_up = min(_WARM_UP, int(_MOST * steps))
    if step < warm_up:
        return step / (warm_up - 1) if warm_up > 1 else 1.0
    progress = min((step - warm_up) / max(steps - warm_up, 1), 1)
    return _LAST + (1 - _LAST) * 0.5 * (1 + math.cos(math.pi * progress))
