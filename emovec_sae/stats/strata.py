"""A mean whose values are sampled within fixed strata (the families of a battery), with its interval."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from emovec_sae.stats.bootstrap import Interval
from emovec_sae.stats.clusters import FEW, group_codes, vector


def stratified_mean(
    values: ArrayLike, strata: ArrayLike, *, level: float = 0.95, resamples: int = 2000, seed: int
) -> Interval:
    """Interval of a mean over values that are resampled within strata, the strata being kept as they are.

    From a stratum of m values m - 1 are drawn, so that the spread of the resampled mean is that of the mean: m draws of
    m would be too narrow by (m - 1) / m, a quarter of the variance with four values. Strata of one value are pooled,
    which is on the safe side. Below 20 values it is a t interval with the stratified standard error.

    Parameters
    ----------
    values
        (n,) finite numbers.
    strata
        (n,) which stratum each belongs to.
    level
        Confidence level.
    resamples
        Number of resamples.
    seed
        Seed of the resampling.

    Returns
    -------
    Interval
        NaN ends where there is one value.

    Raises
    ------
    ValueError
        If there are no values, a value is not finite, or the lengths differ.

    References
    ----------
    McCarthy and Snowden 1985, The bootstrap and finite population sampling; Rao and Wu 1988.
    """
    array = vector(values)
    parts = _parts(array, group_codes(strata, len(array)))
    value, n = float(array.mean()), len(array)
    if n == 1:
        return Interval(value, math.nan, math.nan, 1, 1, level, "none: one value")
    free = sum(len(part) - 1 for part in parts)
    if n < FEW:
        spread = math.sqrt(sum(len(part) * float(part.var(ddof=1)) for part in parts)) / n
        half = float(stats.t.ppf((1 + level) / 2, free)) * spread
        return Interval(value, value - half, value + half, n, n, level, f"t within {len(parts)} strata")
    rng, total = np.random.default_rng(seed), np.zeros(resamples)
    for part in parts:
        rows = rng.integers(len(part), size=(resamples, len(part) - 1))
        total += len(part) / n * part[rows].mean(axis=1)
    low, high = np.quantile(total, [(1 - level) / 2, (1 + level) / 2])
    told = f"bootstrap of {n} values within {len(parts)} strata"
    return Interval(value, float(low), float(high), n, n, level, told)


def _parts(array: NDArray[np.float64], codes: NDArray[np.intp]) -> list[NDArray[np.float64]]:
    """Values by stratum; those of one value together, with another stratum if there is one such alone."""
    parts = [array[codes == code] for code in range(int(codes.max()) + 1)]
    alone = [part for part in parts if len(part) == 1]
    kept = [part for part in parts if len(part) > 1]
    if len(alone) == 1 and kept:
        alone.append(kept.pop())
    return [*kept, np.concatenate(alone)] if alone else kept
