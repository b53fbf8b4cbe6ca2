"""Area under the ROC curve: of many scores at once, and with an interval over clusters."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from emovec_sae.stats.bootstrap import Interval
from emovec_sae.stats.clusters import group_codes, vector


def rank_aurocs(scores: ArrayLike, codes: ArrayLike, n_codes: int) -> NDArray[np.float64]:
    """How well each column tells each class from all others.

    Parameters
    ----------
    scores
        (n, m) numbers; ties count half.
    codes
        (n,) class of each row, from 0 to n_codes - 1.
    n_codes
        Number of classes.

    Returns
    -------
    (n_codes, m); NaN where a class has no row, or every row.
    """
    table, labels = np.asarray(scores, dtype=float), np.asarray(codes)
    ranks = np.asarray(stats.rankdata(table, axis=0))
    count = np.bincount(labels, minlength=n_codes).astype(float)[:, None]
    sums = (np.arange(n_codes)[:, None] == labels).astype(float) @ ranks
    pairs = count * (len(labels) - count)
    return (sums - count * (count + 1) / 2) / np.where(pairs > 0, pairs, np.nan)


def auroc(scores: ArrayLike, positive: ArrayLike, groups: ArrayLike | None = None, *, level: float = 0.95) -> Interval:
    """Area under the ROC curve of one score, with an interval over clusters of rows.

    Parameters
    ----------
    scores
        (n,) numbers; ties count half.
    positive
        (n,) booleans.
    groups
        (n,) what holds rows together (the topic); None if each stands by itself.
    level
        Confidence level.

    Returns
    -------
    Interval
        Student's t over the clusters, cut at 0 and 1; n counts the positive rows. One cluster has no interval.

    Raises
    ------
    ValueError
        If there are not rows of both kinds, a score is not finite, or lengths differ.

    References
    ----------
    DeLong et al. 1988 (placements); Obuchowski 1997, Nonparametric analysis of clustered ROC curve data.
    """
    array, chosen = vector(scores), np.asarray(positive, dtype=bool)
    if chosen.shape != array.shape:
        raise ValueError(f"{len(array)} scores and labels of shape {chosen.shape}; give one label a score")
    if chosen.all() or not chosen.any():
        raise ValueError("all labels agree; an area under the ROC curve needs rows of both kinds")
    codes = np.arange(len(array)) if groups is None else group_codes(groups, len(array))
    own, others = array[chosen], array[~chosen]
    placed = np.empty(len(array))
    placed[chosen] = _below(own, others)
    placed[~chosen] = 1 - _below(others, own)
    value = float(placed[chosen].mean())
    # What each row adds to the estimate, summed over its cluster.
    influence = (placed - value) / np.where(chosen, len(own), len(others))
    sums = np.bincount(codes, weights=influence)
    count = len(sums)
    if count == 1:
        return Interval(value, math.nan, math.nan, len(own), 1, level, "none: one cluster")
    spread = math.sqrt(count / (count - 1) * float(np.square(sums).sum()))
    half = float(stats.t.ppf((1 + level) / 2, count - 1)) * spread
    return Interval(
        value, max(0.0, value - half), min(1.0, value + half), len(own), count, level,
        f"t over {count} clusters (placements)",
    )  # fmt: skip


def _below(scores: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of `others` that lie below each score, ties counted half."""
    ordered = np.sort(others)
    left, right = (np.searchsorted(ordered, scores, side=side) for side in ("left", "right"))
    return (left + right) / (2 * len(others))
