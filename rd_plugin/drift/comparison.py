# SPDX-License-Identifier: Apache-2.0
"""Tests whether two samples come from one distribution.

scipy.stats is imported when a test is made: that takes a second, which the first verdict of a run need not wait for.
"""

import numpy as np

__all__ = ["energy_test", "higher_scores_test", "normal_scores"]

# Number of random permutations, and how many are compared at a time. Few suffice if the p-value is above this.
_FEW, _MANY, _BATCH, _CLEAR = 200, 2000, 250, 0.1
# Share of the largest permuted distances to which the tail is fitted.
_TAIL = 0.1
# Directions with less than this share of the largest variance are rounding errors.
_SMALLEST_SHARE = 1e-6


def normal_scores(values: np.ndarray) -> np.ndarray:
    """Replace each column by the normal quantiles of its ranks, which removes the effect of units and outliers.

    Args:
        values: Numbers of shape ``(N, D)``.

    Returns:
        Numbers of the same shape; a column that does not vary becomes zero.

    Example:
        >>> normal_scores(np.array([[1.0], [1000.0], [2.0]])).round(2).ravel().tolist()
        [-0.67, 0.67, 0.0]
    """
    from scipy.stats import norm, rankdata

    return norm.ppf(rankdata(values, axis=0) / (len(values) + 1))


def energy_test(reference: np.ndarray, others: np.ndarray, seed: int = 0) -> float:
    """Permutation test of the energy distance: do others come from the reference's distribution?

    Both samples are pooled, ranked and whitened together, so that all images are treated alike. Their distance (Szekely
    and Rizzo 2013) is compared with those of random permutations of the pool. For every distribution and any size of
    the reference, the probability of a p-value of at most p is at most p if all images come from one distribution. If
    no permutation has as large a distance, the p-value is estimated by an exponential distribution fitted to the
    largest distances (Knijnenburg et al. 2009, a generalized Pareto distribution with shape 0). The tail of the
    distances is lighter, so this p-value is conservative.

    Args:
        reference: Statistics of shape ``(N, D)``.
        others: Statistics of shape ``(M, D)``.
        seed: Seed of the permutations.

    Returns:
        The p-value.
    """
    from scipy.stats import permutation_test

    count, left = len(others), len(reference)
    size = left + count
    distances = _distances(_whiten(normal_scores(np.concatenate([reference, others]))))
    sums, total = distances.sum(1), float(distances.sum())

    def energy(_: np.ndarray, chosen: np.ndarray, axis: int) -> np.ndarray:
        """Distance of the rows with these indices, of shape ``(..., M)``, from the others, up to constant terms."""
        ones = np.zeros((*chosen.shape[:-1], size), np.float32)
        np.put_along_axis(ones, chosen, 1, axis=axis)
        within = ((ones @ distances) * ones).sum(axis)
        touching = ones @ sums
        across, rest = touching - within, total - 2 * touching + within
        return 2 * across / (count * left) - within / count**2 - rest / left**2

    for divisions in (_FEW, _MANY):
        found = permutation_test(
            np.split(np.arange(size), [left]),
            energy,
            vectorized=True,
            alternative="greater",
            n_resamples=divisions,
            batch=_BATCH,
            random_state=seed + divisions,
        )
        if found.pvalue > _CLEAR:
            return float(found.pvalue)
    tail = np.sort(found.null_distribution)[-round(_TAIL * _MANY) :]
    excess = float((tail - tail[0]).mean())
    if found.statistic <= tail[-1] or excess == 0:
        return float(found.pvalue)
    return float(min(found.pvalue, _TAIL * np.exp((tail[0] - found.statistic) / excess)))


def higher_scores_test(reference: np.ndarray, others: np.ndarray) -> float:
    """Test whether others' scores are higher than the reference's (Mann and Whitney 1947, ties taken into account).

    Args:
        reference: Scores of shape ``(N,)``.
        others: Scores of shape ``(M,)``.

    Returns:
        The p-value.
    """
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(others, reference, alternative="greater").pvalue)


def _whiten(values: np.ndarray) -> np.ndarray:
    """Values of shape ``(N, D)`` in uncorrelated directions of equal variance."""
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
