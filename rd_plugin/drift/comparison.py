# SPDX-License-Identifier: Apache-2.0
"""Tests whether two samples come from one distribution."""

import numpy as np
from scipy.stats import gamma, mannwhitneyu, norm, rankdata

__all__ = ["energy_test", "higher_scores_test", "normal_scores"]

# Permutations that are drawn at a time, and how many times at most.
_DRAWN, _TIMES = 250, 40
# As soon as so many of them lie as far apart as the samples do, these are alike enough.
_ENOUGH = 10
# The fitted tail is up to ten times too light, as found by counting 200,000 permutations.
_TAIL_IN_HAND = 10.0
# So clear that counting on would tell nothing.
_CLEAR = 1e-9
# Directions that vary less than this share of the one that varies most are rounding.
_SMALLEST_SHARE = 1e-6


def normal_scores(values: np.ndarray) -> np.ndarray:
    """Replace each column by what a normal distribution has at its ranks, so that units and outliers do not count.

    Args:
        values: Numbers of shape ``(N, D)``.

    Returns:
        Numbers of the same shape; a column that does not vary becomes zero.

    Example:
        >>> normal_scores(np.array([[1.0], [1000.0], [2.0]])).round(2).ravel().tolist()
        [-0.67, 0.67, 0.0]
    """
    return norm.ppf(rankdata(values, axis=0) / (len(values) + 1))


def energy_test(reference: np.ndarray, others: np.ndarray, seed: int = 0) -> float:
    """Test whether others come from the reference's distribution, by the energy distance.

    Both samples are pooled, ranked and whitened together, so that no image counts as another one of its kind, and
    the distance (Szekely and Rizzo 2013) is compared with those of random divisions of the pool. Whatever the
    distribution and however small the reference, the probability of a p-value of at most p is at most p if all images
    come from one distribution. Where no random division is as far apart, a gamma distribution fitted to them, with ten
    times its probability, says how much rarer it is than can be counted.

    Args:
        reference: Statistics of shape ``(N, D)``.
        others: Statistics of shape ``(M, D)``.
        seed: Of the divisions.

    Returns:
        The p-value.
    """
    count, size = len(others), len(reference) + len(others)
    distances = _distances(_whiten(normal_scores(np.concatenate([reference, others]))))
    sums, total = distances.sum(1), float(distances.sum())

    def energy(chosen: np.ndarray) -> np.ndarray:
        """Distance of rows of ones, of shape ``(B, N + M)``, from the rest; others of its terms are constant."""
        within = ((chosen @ distances) * chosen).sum(1)
        touching = chosen @ sums
        across, rest = touching - within, total - 2 * touching + within
        left = size - count
        return 2 * across / (count * left) - within / count**2 - rest / left**2

    own = np.zeros((1, size), np.float32)
    own[0, len(reference) :] = 1
    # Rounding must not tell equal divisions apart.
    found = float(energy(own)[0]) - 1e-6
    rng = np.random.default_rng(seed)
    random = np.zeros(0)
    further, tail = 0, 1.0
    for _ in range(_TIMES):
        chosen = np.zeros((_DRAWN, size), np.float32)
        places = rng.random((_DRAWN, size), np.float32).argpartition(count - 1, axis=1)[:, :count]
        np.put_along_axis(chosen, places, 1, axis=1)
        random = np.append(random, energy(chosen))
        further = int((random >= found).sum())
        tail = 1.0 if further else _TAIL_IN_HAND * _gamma_tail(random, found)
        if further >= _ENOUGH or tail < _CLEAR:
            break
    return min((1 + further) / (1 + len(random)), tail)


def higher_scores_test(reference: np.ndarray, others: np.ndarray) -> float:
    """Test whether others' scores are higher than the reference's (Mann and Whitney 1947, ties taken into account).

    Args:
        reference: Scores of shape ``(N,)``.
        others: Scores of shape ``(M,)``.

    Returns:
        The p-value.
    """
    return float(mannwhitneyu(others, reference, alternative="greater").pvalue)


def _whiten(values: np.ndarray) -> np.ndarray:
    """Numbers of shape ``(N, D)`` in directions that vary alike, and do not vary together."""
    centred = values - values.mean(0)
    variances, directions = np.linalg.eigh(centred.T @ centred / len(values))
    kept = variances > _SMALLEST_SHARE * max(float(variances[-1]), _SMALLEST_SHARE)
    return centred @ (directions[:, kept] / np.sqrt(variances[kept]))


def _distances(values: np.ndarray) -> np.ndarray:
    """Distances of shape ``(N, N)`` between rows."""
    squares = (values**2).sum(1)
    squared = squares[:, None] + squares[None] - 2 * values @ values.T
    np.fill_diagonal(squared, 0)
    return np.sqrt(squared.clip(min=0)).astype(np.float32)


def _gamma_tail(random: np.ndarray, found: float) -> float:
    """Probability beyond a value, of the gamma distribution with the mean, variance and skewness of random values."""
    mean, deviation = random.mean(), random.std()
    if deviation == 0:
        return 1.0
    skewness = float((((random - mean) / deviation) ** 3).mean())
    if skewness <= 0:
        return float(norm.sf((found - mean) / deviation))
    shape = 4 / skewness**2
    return float(gamma.sf(shape + np.sqrt(shape) * (found - mean) / deviation, shape))
