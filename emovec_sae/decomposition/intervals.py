"""Intervals of many means over groups at once; `emovec_sae.stats.bootstrap_mean` for tables."""

from __future__ import annotations

import numpy as np
from scipy import stats

from emovec_sae.stats.clusters import FEW

LEVEL = 0.95
"""Confidence level of the intervals."""


def group_intervals(
    values: np.ndarray, point: np.ndarray, *, seed: int, resamples: int = 2000
) -> tuple[np.ndarray, np.ndarray]:
    """Intervals around `point` from one value a group.

    Below 20 groups Student's t over the groups, from there on percentiles of the resampled mean (percentile intervals
    of few groups are too narrow: science.md, section 4).

    Parameters
    ----------
    values
        Shape (m, G); NaN where a group has no value.
    point
        The estimates, shape (m,); where groups are of unequal size the mean over groups differs from them a little,
        and the interval is moved to sit around them.
    seed, resamples
        Of the bootstrap.

    Returns
    -------
    low, high
        Shape (m,); NaN where fewer than two groups have a value.
    """
    there = np.isfinite(values)
    count = there.sum(1)
    filled = np.where(there, values, 0.0)
    mean = filled.sum(1) / np.maximum(count, 1)
    low, high = np.full(len(values), np.nan), np.full(len(values), np.nan)
    few = (count >= 2) & (count < FEW)
    if few.any():
        squared = np.where(there, np.square(values - mean[:, None]), 0.0).sum(1)[few]
        n = count[few]
        half = stats.t.ppf((1 + LEVEL) / 2, n - 1) * np.sqrt(squared / (n - 1) / n)
        low[few], high[few] = point[few] - half, point[few] + half
    many = count >= FEW
    if many.any():
        groups = values.shape[1]
        times = (
            np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=resamples).astype(float)
        )
        # A resample may miss every group that has a value; with 20 of them that never matters.
        draws = (times @ filled[many].T) / np.maximum(times @ there[many].T, 1.0)
        ends = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        low[many], high[many] = point[many] + ends[0] - mean[many], point[many] + ends[1] - mean[many]
    return low, high


def interval_name(groups: int) -> str:
    """What an interval over so many groups is, for a caption."""
    if groups < 2:
        return "no interval: one group"
    kind = "t intervals" if groups < FEW else "bootstrap"
    return f"95 % {kind} over {groups} groups"
