"""Interval of a proportion whose trials come in clusters."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from emovec_sae.stats.bootstrap import Interval
from emovec_sae.stats.clusters import cluster


def proportion(successes: ArrayLike, groups: ArrayLike | None = None, *, level: float = 0.95) -> Interval:
    """Wilson interval of a proportion, with the effective number of trials where they come in clusters.

    Unlike a bootstrap it keeps a width when all or none succeed. The effective number is p (1 - p) over the variance
    between clusters, scaled for the few clusters that this variance is known from; it never exceeds the number of
    trials, and is the number of clusters where p is 0 or 1.

    Parameters
    ----------
    successes
        (n,) booleans, or zeros and ones.
    groups
        (n,) what holds trials together; None if each stands by itself.
    level
        Confidence level.

    Raises
    ------
    ValueError
        If there are no trials, a value is neither 0 nor 1, or the lengths differ.

    References
    ----------
    Korn and Graubard 1998, Confidence intervals for proportions with small expected number of positive counts.
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must lie between 0 and 1")
    array = np.asarray(successes, dtype=float)
    if not np.isin(array, (0.0, 1.0)).all():
        raise ValueError("successes hold values other than 0 and 1")
    summed = cluster(array, groups)
    count, share = len(summed), float(summed.sums.sum() / summed.n)
    z = float(stats.norm.ppf((1 + level) / 2))
    effective, method = float(summed.n), "Wilson"
    if groups is not None:
        if count == 1:
            return Interval(share, math.nan, math.nan, summed.n, 1, level, "none: one cluster")
        left = summed.sums - share * summed.counts
        variance = count / (count - 1) * float(left @ left) / summed.n**2
        scale = (z / float(stats.t.ppf((1 + level) / 2, count - 1))) ** 2
        effective = float(count) if share in (0, 1) else share * (1 - share) / max(variance, 1e-300) * scale
        effective, method = min(effective, float(summed.n)), f"Wilson, effective n over {count} clusters"
    centre = (share + z**2 / (2 * effective)) / (1 + z**2 / effective)
    half = z / (1 + z**2 / effective) * math.sqrt(share * (1 - share) / effective + z**2 / (4 * effective**2))
    # The formula meets 0 and 1 only up to rounding.
    low, high = min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))
    return Interval(share, low, high, summed.n, count, level, method)
