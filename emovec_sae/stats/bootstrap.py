"""Intervals of means and of ratios of means, by resampling whole clusters."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from emovec_sae.stats.clusters import FEW, cluster

_CELLS = 2**22
"""Size of a block of resamples, in cells: memory does not grow with the number of clusters."""

NO_RATIO = "no ratio: the interval of the denominator holds 0"
"""`Interval.method` where a ratio would divide by what may be zero."""


@dataclass(frozen=True)
class Interval:
    """A number with its interval.

    Attributes
    ----------
    value, low, high
        The estimate and the ends of its interval; NaN where the data cannot tell.
    n
        Number of values that it rests on.
    clusters
        Number of independent clusters among them.
    level
        Confidence level.
    method
        How the interval was made.
    """

    value: float
    low: float
    high: float
    n: int
    clusters: int
    level: float
    method: str

    def __str__(self) -> str:
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}], n = {self.n}"

    def as_dict(self) -> dict[str, float | int | None]:
        """Return ``{"value", "low", "high", "n"}`` for JSON, with None for NaN."""
        ends = {"value": self.value, "low": self.low, "high": self.high}
        return {name: None if math.isnan(end) else end for name, end in ends.items()} | {"n": self.n}


def bootstrap_mean(
    values: ArrayLike, groups: ArrayLike | None = None, *, level: float = 0.95, resamples: int = 2000, seed: int
) -> Interval:
    """Interval of the mean of values that come in clusters.

    From 20 clusters on, the percentiles of the mean over resampled clusters; below, a t interval with a standard error
    over clusters (equal to the t interval of the cluster means where clusters have one size), because percentile
    intervals of few clusters are too narrow.

    Parameters
    ----------
    values
        (n,) finite numbers.
    groups
        (n,) what holds values together (topic, emotion, template); None if each stands by itself.
    level
        Confidence level, between 0 and 1.
    resamples
        Number of resamples.
    seed
        Seed of the resampling.

    Returns
    -------
    Interval
        One cluster has a value and no interval (NaN).

    Raises
    ------
    ValueError
        If there are no values, a value is not finite, or the lengths differ.

    References
    ----------
    Cameron, Gelbach and Miller 2008, Bootstrap-based improvements for inference with clustered errors.
    """
    summed = cluster(values, groups)
    return _interval(summed.sums, summed.counts, summed.n, level=level, resamples=resamples, seed=seed)


def bootstrap_ratio(
    numerator: ArrayLike,
    denominator: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int,
) -> Interval:
    """Interval of mean(numerator) / mean(denominator) over pairs that come in clusters.

    Clusters are resampled with both of their sides, so what the two share cancels. Resampling the outermost clusters
    carries the variation within them along.

    Parameters
    ----------
    numerator, denominator
        (n,) finite numbers, paired by row: the effect of an arm and of the raw vector on the same prompt.
    groups
        (n,) what holds rows together; None if each stands by itself.
    level, resamples, seed
        As in `bootstrap_mean`.

    Returns
    -------
    Interval
        With NaN and the method `NO_RATIO` where the interval of the denominator's mean holds 0.

    Raises
    ------
    ValueError
        As `bootstrap_mean`.
    """
    top, bottom = cluster(numerator, groups), cluster(denominator, groups)
    if top.n != bottom.n:
        raise ValueError(f"{top.n} numerators and {bottom.n} denominators; they must be pairs")
    base = _interval(bottom.sums, bottom.counts, bottom.n, level=level, resamples=resamples, seed=seed)
    if not (base.low > 0 or base.high < 0):
        return Interval(math.nan, math.nan, math.nan, top.n, len(top), level, NO_RATIO)
    return _interval(top.sums, bottom.sums, top.n, level=level, resamples=resamples, seed=seed)


def _interval(
    top: NDArray[np.float64], bottom: NDArray[np.float64], n: int, *, level: float, resamples: int, seed: int
) -> Interval:
    """Interval of sum(top) / sum(bottom) over clusters; a mean is the ratio of sums to counts."""
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must lie between 0 and 1")
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}; at least 1 is needed")
    count = len(top)
    value = float(top.sum() / bottom.sum())
    if count == 1:
        return Interval(value, math.nan, math.nan, n, 1, level, "none: one cluster")
    if count < FEW:
        # Linearised standard error of a ratio of sums, with Student's t for the few clusters.
        spread = math.sqrt(count / (count - 1) * float(np.square(top - value * bottom).sum()))
        half = float(stats.t.ppf((1 + level) / 2, count - 1)) * spread / abs(float(bottom.sum()))
        return Interval(value, value - half, value + half, n, count, level, f"t over {count} clusters")
    draws = _resampled(top, bottom, resamples, seed)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), n, count, level, f"percentile bootstrap over {count} clusters")


def _resampled(top: NDArray[np.float64], bottom: NDArray[np.float64], resamples: int, seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    count = len(top)
    share = np.full(count, 1 / count)
    block = max(1, _CELLS // count)
    parts: list[NDArray[np.float64]] = []
    for start in range(0, resamples, block):
        times = rng.multinomial(count, share, size=min(block, resamples - start))
        parts.append((times @ top) / (times @ bottom))
    return np.concatenate(parts)
