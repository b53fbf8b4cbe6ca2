"""Correlations of many columns over the same rows, under one set of resampled or permuted rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def drawn(n: int, resamples: int, *, seed: int) -> Matrix:
    """How often each of n rows is drawn in each resample, (resamples, n)."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples).astype(float)


def weighted_r(times: Matrix, x: Matrix, y: Matrix) -> Matrix:
    """Pearson's r of columns under weights of the rows.

    Parameters
    ----------
    times
        (B, n) weights, from `drawn`; a row of ones gives the plain correlation.
    x, y
        (n, m) columns, paired; `y` may be (n, 1).

    Returns
    -------
    numpy.ndarray
        (B, m), 0 where a column does not vary.
    """
    x, y = _standard(x), _standard(y)
    total = times.sum(axis=1, keepdims=True)
    mean_x, mean_y = times @ x / total, times @ y / total
    spread = (times @ x**2 / total - mean_x**2).clip(0) * (times @ y**2 / total - mean_y**2).clip(0)
    return (times @ (x * y) / total - mean_x * mean_y) / np.sqrt(np.where(spread > 1e-12, spread, np.inf))


def permuted_r(x: Matrix, y: Matrix, *, permutations: int, seed: int) -> Matrix:
    """Correlations of columns after the rows of y were permuted, the same for all columns, (permutations, m)."""
    x, y, n = _standard(x), _standard(y), len(x)
    rng = np.random.default_rng(seed)
    return np.stack([(x * y[rng.permutation(n)]).sum(axis=0) / n for _ in range(permutations)])


def _standard(values: Matrix) -> Matrix:
    """Columns with mean 0 and deviation 1; a constant one is 0."""
    centred, spread = values - values.mean(axis=0), values.std(axis=0)
    return centred / np.where(spread > 1e-12 * np.abs(values).max(axis=0, initial=0.0), spread, np.inf)
