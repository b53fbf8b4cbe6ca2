"""Intervals and tests of a ratio of means whose pairs are nested: prompts within emotions, seeds within prompts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from emovec_sae.stats.bootstrap import NO_RATIO, Interval, bootstrap_mean, bootstrap_ratio
from emovec_sae.stats.clusters import FEW, group_codes, vector

Within = Literal["kept", "resampled"]
"""What becomes of the levels below the outermost one when a cluster is drawn."""

_CELLS = 2**21
"""Weights of a block of resamples: memory does not grow with their number."""


@dataclass(frozen=True)
class _Tree:
    """Pairs averaged within inner and ordered by middle clusters; every outer cluster counts the same.

    Attributes
    ----------
    top, bottom
        (rows,) values of the pairs, outer clusters one after the other, middle clusters within them.
    middles
        Middle clusters of each outer one: the number of rows of each, in order.
    """

    top: NDArray[np.float64]
    bottom: NDArray[np.float64]
    middles: tuple[NDArray[np.intp], ...]

    def means(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean of each outer cluster: rows averaged within middle clusters, these within the outer one."""
        weights = np.concatenate([np.repeat(1 / (len(one) * one), one) for one in self.middles])
        ends = np.concatenate([[0], np.cumsum([one.sum() for one in self.middles])[:-1]])
        return np.add.reduceat(self.top * weights, ends), np.add.reduceat(self.bottom * weights, ends)


def hierarchical_ratio(
    numerator: ArrayLike,
    denominator: ArrayLike,
    outer: ArrayLike,
    middle: ArrayLike | None = None,
    *,
    level: float = 0.95,
    within: Within = "kept",
    resamples: int = 2000,
    seed: int,
) -> Interval:
    """Interval of mean(numerator) / mean(denominator) over nested pairs.

    Outer clusters (emotions) are drawn with replacement, always as pairs; middle clusters (prompts) and rows (seeds of
    generation) come along with them. Each outer cluster weighs the same, and each middle cluster within it. From 20
    outer clusters on the interval is that of the percentiles, widened for the number of clusters; below, a t interval
    with the linearised standard error over outer clusters.

    Parameters
    ----------
    numerator, denominator
        (n,) finite numbers, paired by row.
    outer
        (n,) the independent clusters.
    middle
        (n,) clusters within them, None if each row is one; the same label under two outer clusters means two.
    within
        ``kept`` leaves the pairs of a drawn cluster as they are: the differences between clusters already hold the
        variation within them. ``resampled`` draws middle clusters and rows anew too, which counts that variation
        twice: where it is most of the noise, a nominal 95 % interval covers 99 %.
    level, resamples, seed
        As in `bootstrap_mean`.

    Returns
    -------
    Interval
        With NaN and the method `NO_RATIO` where the interval of the denominator's mean over outer clusters holds 0.

    Raises
    ------
    ValueError
        If there are no pairs, a value is not finite, or lengths differ.

    References
    ----------
    Davison and Hinkley 1997, Bootstrap methods and their application, section 3.8 (resampling of nested data);
    Hesterberg 2015, What teachers should know about the bootstrap (widened percentiles).
    """
    if within not in get_args(Within):
        raise ValueError(f"within is '{within}'; it must be one of {', '.join(get_args(Within))}")
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}; at least 1 is needed")
    tree = _grow(numerator, denominator, outer, middle)
    n, count = len(tree.top), len(tree.middles)
    tops, bottoms = tree.means()
    if count < FEW:
        few = bootstrap_ratio(tops, bottoms, level=level, seed=seed)
        return Interval(few.value, few.low, few.high, n, count, level, few.method)
    base = bootstrap_mean(bottoms, level=level, resamples=resamples, seed=seed)
    if not (base.low > 0 or base.high < 0):
        return Interval(math.nan, math.nan, math.nan, n, count, level, NO_RATIO)
    rng = np.random.default_rng(seed)
    if within == "kept":
        times = rng.multinomial(count, np.full(count, 1 / count), size=resamples)
        draws = (times @ tops) / (times @ bottoms)
    else:
        draws = _draws(tree, resamples, rng)
    tail = float(stats.norm.cdf(-math.sqrt(count / (count - 1)) * stats.t.ppf((1 + level) / 2, count - 1)))
    low, high = np.quantile(draws, [tail, 1 - tail])
    told = f"percentile bootstrap over {count} clusters, {within} within"
    return Interval(float(tops.mean() / bottoms.mean()), float(low), float(high), n, count, level, told)


def ratio_above_p(
    numerator: ArrayLike, denominator: ArrayLike, margin: float, outer: ArrayLike, middle: ArrayLike | None = None
) -> float:
    """One-sided p of mean(numerator) / mean(denominator) <= margin, for a denominator with a positive mean.

    The difference ``numerator - margin * denominator`` is averaged within each outer cluster, and its mean is tested
    against 0 by Student's t over outer clusters (Fieller's argument): no ratio is formed, so none can explode.

    Returns
    -------
    float
        NaN with a single outer cluster; 0 or 1 where the clusters do not differ at all.

    Raises
    ------
    ValueError
        As `hierarchical_ratio`.

    References
    ----------
    Fieller 1954, Some problems in interval estimation.
    """
    tops, bottoms = _grow(numerator, denominator, outer, middle).means()
    apart = tops - margin * bottoms
    if len(apart) == 1:
        return math.nan
    spread = float(apart.std(ddof=1)) / math.sqrt(len(apart))
    if spread <= 1e-12 * float(np.abs(tops).mean()):
        return 0.0 if apart.mean() > 0 else 1.0
    return float(stats.t.sf(apart.mean() / spread, len(apart) - 1))


def _grow(numerator: ArrayLike, denominator: ArrayLike, outer: ArrayLike, middle: ArrayLike | None) -> _Tree:
    top, bottom = vector(numerator), vector(denominator)
    if len(top) != len(bottom):
        raise ValueError(f"{len(top)} numerators and {len(bottom)} denominators; they must be pairs")
    above = group_codes(outer, len(top))
    below = np.arange(len(top)) if middle is None else group_codes(middle, len(top))
    order = np.lexsort((below, above))
    above, below = above[order], below[order]
    middles = tuple(
        np.unique(below[above == code], return_counts=True)[1].astype(np.intp) for code in range(above.max() + 1)
    )
    return _Tree(top[order], bottom[order], middles)


def _draws(tree: _Tree, resamples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Ratios of resampled trees.

    How often a row is drawn is all that counts, and draws of several copies of a cluster add up to one multinomial
    draw of as many times the trials, which is what is drawn.
    """
    count = len(tree.middles)
    found = np.empty((2, resamples))
    block = max(1, _CELLS // max(int(one.sum()) for one in tree.middles))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        times = rng.multinomial(count, np.full(count, 1 / count), size=size)
        sums = np.zeros((2, size))
        first = 0
        for place, rows in enumerate(tree.middles):
            own = slice(first, first + int(rows.sum()))
            first = own.stop
            weights = _row_weights(times[:, place], rows, rng)
            sums += np.stack([weights @ tree.top[own], weights @ tree.bottom[own]])
        found[:, start : start + size] = sums
    return found[0] / found[1]


def _row_weights(times: NDArray[np.int64], rows: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.float64]:
    """Weight of each row of an outer cluster that was drawn so many times, shape (resamples, rows)."""
    drawn = rng.multinomial(times * len(rows), np.full(len(rows), 1 / len(rows)))
    if (rows == 1).all():
        return drawn / len(rows)
    parts = [
        rng.multinomial(drawn[:, place] * size, np.full(size, 1 / size)) / (len(rows) * size)
        for place, size in enumerate(rows)
    ]
    return np.concatenate(parts, axis=1)
