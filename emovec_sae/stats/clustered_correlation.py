"""A correlation of values that come in clusters, with an interval over the clusters."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from emovec_sae.stats.bootstrap import Interval
from emovec_sae.stats.clusters import group_codes, vector

_FEWEST = 3
"""Clusters below which leaving one out says nothing about the spread."""


def clustered_correlation(
    x: ArrayLike,
    y: ArrayLike,
    groups: ArrayLike,
    *,
    kind: Literal["pearson", "spearman"] = "pearson",
    level: float = 0.95,
) -> Interval:
    """Correlate two series whose values come in clusters.

    The interval is a jackknife that leaves out one cluster at a time, on Fisher's scale, with Student's t for the
    number of clusters. Ranks (``spearman``) are taken once, over all values.

    Parameters
    ----------
    x, y
        (n,) finite numbers.
    groups
        (n,) what holds values together (the pair of texts).
    kind
        ``pearson`` or ``spearman``.
    level
        Confidence level.

    Returns
    -------
    Interval
        NaN ends with fewer than three clusters; all NaN where a series is constant.

    Raises
    ------
    ValueError
        If the lengths differ or a value is not finite.

    References
    ----------
    Efron 1982, The Jackknife, the Bootstrap and Other Resampling Plans.
    """
    one, other = vector(x), vector(y)
    if len(one) != len(other):
        raise ValueError(f"{len(one)} and {len(other)} values; they must be pairs")
    codes = group_codes(groups, len(one))
    if kind == "spearman":
        one, other = stats.rankdata(one), stats.rankdata(other)
    one, other = one - one.mean(), other - other.mean()
    count, n = int(codes.max()) + 1, len(one)
    moments = (np.ones(n), one, other, one * one, other * other, one * other)
    sums = np.stack([np.bincount(codes, weights=part, minlength=count) for part in moments])
    value = float(_r(sums.sum(axis=1)))
    told = f"jackknife over {count} clusters"
    if count < _FEWEST or math.isnan(value):
        return Interval(value, math.nan, math.nan, n, count, level, f"none: {count} clusters")
    left = np.arctanh(np.clip(_r(sums.sum(axis=1, keepdims=True) - sums), -1 + 1e-12, 1 - 1e-12))
    if np.isnan(left).any():  # without one cluster a series is constant
        return Interval(value, math.nan, math.nan, n, count, level, "none: one cluster holds all the spread")
    spread = math.sqrt((count - 1) / count * float(np.square(left - left.mean()).sum()))
    half = float(stats.t.ppf((1 + level) / 2, count - 1)) * spread
    centre = math.atanh(min(max(value, -1 + 1e-12), 1 - 1e-12))
    return Interval(value, math.tanh(centre - half), math.tanh(centre + half), n, count, level, told)


def _r(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson's r from counts, sums, squares and products along the first axis; NaN where there is no spread."""
    n, x, y, xx, yy, xy = sums
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.sqrt((xx - x * x / n).clip(0) * (yy - y * y / n).clip(0))
        return np.where(spread > 1e-12 * np.sqrt(xx * yy), (xy - x * y / n) / spread, np.nan)
