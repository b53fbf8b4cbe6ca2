"""Bradley-Terry scores: one strength an item from comparisons of pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize
from scipy.special import expit

from emovec_sae.stats.bootstrap import Interval
from emovec_sae.stats.clusters import FEW, vector


@dataclass(frozen=True, eq=False)
class BradleyTerry:
    """Strengths of items; item i beats item j with probability 1 / (1 + exp(s_j - s_i)).

    Attributes
    ----------
    scores, low, high
        (n_items,) strengths in nats with mean 0, and the ends of their intervals; NaN without resamples, or with fewer
        than 20 pairs.
    n
        Number of pairs.
    ridge
        The penalty that they were fitted with.
    level
        Confidence level.
    method
        How the intervals were made.
    """

    scores: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    n: int
    ridge: float
    level: float
    method: str

    def __repr__(self) -> str:
        return f"BradleyTerry({len(self.scores)} items, {self.n} pairs, spread {self.scores.std():.2f} nats)"


def bradley_terry(
    first: ArrayLike,
    second: ArrayLike,
    won: ArrayLike,
    n_items: int,
    *,
    ridge: float = 0.01,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int,
) -> BradleyTerry:
    """Fit strengths by maximum likelihood, with a weak ridge that keeps an item that never loses finite.

    Parameters
    ----------
    first, second
        (n,) items of each pair, numbered from 0.
    won
        (n,) what the first got: 1 won, 0 lost, or a probability between.
    n_items
        Number of items.
    ridge
        The penalty is half of it times the sum of the squared scores; 0.01 is a prior deviation of 10 nats.
    level
        Confidence level.
    resamples
        Bootstrap resamples of pairs; 0 leaves the intervals out.
    seed
        Seed of the resampling.

    Raises
    ------
    ValueError
        If lengths differ, an item is unknown or meets itself, `won` leaves 0 to 1, or an option makes no sense.

    References
    ----------
    Bradley and Terry 1952, Rank analysis of incomplete block designs: the method of paired comparisons.
    """
    share = vector(won)
    one, other = _items(first, len(share), n_items), _items(second, len(share), n_items)
    if (one == other).any():
        raise ValueError(f"item {one[one == other][0]} is paired with itself")
    if share.min() < 0 or share.max() > 1:
        raise ValueError("won holds values outside 0 to 1")
    if not (ridge > 0 and math.isfinite(ridge)):
        raise ValueError(f"ridge is {ridge}; it must be positive, if small")
    if not 0 < level < 1 or resamples < 0:
        raise ValueError(
            f"level is {level}, resamples {resamples}; a level lies between 0 and 1, resamples are 0 or more"
        )
    scores = _fit(one, other, share, np.ones(len(share)), ridge, np.zeros(n_items))
    if not resamples or len(share) < FEW:
        empty = np.full(n_items, math.nan)
        why = "no resamples" if not resamples else "too few pairs"
        return BradleyTerry(scores, empty, empty.copy(), len(share), ridge, level, f"none: {why}")
    rng = np.random.default_rng(seed)
    times = rng.multinomial(len(share), np.full(len(share), 1 / len(share)), size=resamples)
    draws = np.stack([_fit(one, other, share, row.astype(float), ridge, scores) for row in times])
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return BradleyTerry(scores, low, high, len(share), ridge, level, f"percentile bootstrap over {len(share)} pairs")


def balanced_pairs(n_items: int, pairs: int, *, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Random pairs of which no two are equal, as many for every item, and all items joined to each other.

    The items stand on a ring in random order, and those at a few random distances meet.

    Parameters
    ----------
    n_items
        Number of items, at least 3.
    pairs
        Most pairs, at least as many as items; rounded down to a multiple of those.
    seed
        Seed of order and distances.

    Returns
    -------
    tuple of numpy.ndarray
        First and second item of each pair.

    Raises
    ------
    ValueError
        If there are too few items or pairs.
    """
    if n_items < 3 or pairs < n_items:
        raise ValueError(f"{pairs} pairs of {n_items} items; at least 3 items and as many pairs are needed")
    rng = np.random.default_rng(seed)
    ring, most = rng.permutation(n_items), (n_items - 1) // 2
    # Neighbours always meet, so that every strength can be compared with every other.
    steps = [1, *(2 + rng.permutation(most - 1))][: pairs // n_items]
    return np.tile(ring, len(steps)), np.concatenate([np.roll(ring, -int(step)) for step in steps])


def split_half(
    first: ArrayLike,
    second: ArrayLike,
    won: ArrayLike,
    n_items: int,
    *,
    halvings: int = 20,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int,
) -> Interval:
    """Reliability of scores: the correlation of those of two halves of the pairs, stepped up to all of them.

    Parameters
    ----------
    first, second, won, n_items
        As in `bradley_terry`.
    halvings
        Random halvings, over which the reliability is averaged.
    level, resamples
        The interval is made of percentiles over resampled items.
    seed
        Seed of halvings and resamples.

    References
    ----------
    Spearman 1910 and Brown 1910: a test of twice the length has reliability 2 r / (1 + r).
    """
    one, other, share = np.asarray(first), np.asarray(second), vector(won)
    if len(share) < 2:
        raise ValueError("one pair has no halves")
    rng, split = np.random.default_rng(seed), np.empty((2, halvings, n_items))
    for halving in range(halvings):
        mine = rng.permutation(len(share)) < len(share) // 2
        for side, rows in enumerate((mine, ~mine)):
            found = bradley_terry(one[rows], other[rows], share[rows], n_items, resamples=0, seed=seed)
            split[side, halving] = found.scores
    draws = [_stepped_up(split[:, :, rng.integers(n_items, size=n_items)]) for _ in range(resamples)]
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    told = f"{halvings} halvings of {len(share)} pairs, Spearman-Brown"
    return Interval(_stepped_up(split), float(low), float(high), n_items, n_items, level, told)


def _stepped_up(split: NDArray[np.float64]) -> float:
    """Mean Spearman-Brown reliability of scores (2, halvings, items); what is not positive is not stepped up."""
    centred = split - split.mean(axis=-1, keepdims=True)
    spread = np.sqrt(np.square(centred).sum(axis=-1).prod(axis=0))
    r = centred.prod(axis=0).sum(axis=-1) / np.where(spread > 0, spread, np.inf)
    return float(np.where(r > 0, 2 * r / (1 + np.maximum(r, 0)), r).mean())


def _items(values: ArrayLike, n: int, n_items: int) -> NDArray[np.intp]:
    array = np.asarray(values)
    if array.shape != (n,) or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"items have shape {array.shape} and type {array.dtype}; {n} whole numbers are needed")
    if array.min() < 0 or array.max() >= n_items:
        raise ValueError(
            f"items run from {array.min()} to {array.max()}; with {n_items} they run from 0 to {n_items - 1}"
        )
    return array.astype(np.intp)


def _fit(
    first: NDArray[np.intp],
    second: NDArray[np.intp],
    won: NDArray[np.float64],
    weights: NDArray[np.float64],
    ridge: float,
    start: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Centred scores of weighted pairs: a logistic regression on the difference of two items' scores."""
    n = len(start)

    def _loss(scores: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        gap = scores[first] - scores[second]
        value = float(weights @ (np.logaddexp(0.0, gap) - won * gap)) + ridge / 2 * float(scores @ scores)
        pull = weights * (expit(gap) - won)
        slope = np.bincount(first, pull, n) - np.bincount(second, pull, n) + ridge * scores
        return value, slope

    def _curvature(scores: NDArray[np.float64]) -> NDArray[np.float64]:
        chance = expit(scores[first] - scores[second])
        bend = weights * chance * (1 - chance)
        pairs = np.bincount(first * n + second, bend, n * n).astype(float).reshape(n, n)
        both = pairs + pairs.T
        return np.diag(both.sum(axis=1) + ridge) - both

    close = {"gtol": 1e-9 * max(1000, len(won))}  # what double precision can promise of a sum of so many terms
    found = optimize.minimize(_loss, start, jac=True, hess=_curvature, method="trust-exact", options=close)
    return found.x - found.x.mean()
