"""Correlation with a bootstrap interval and a permutation p value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from emovec_sae.stats.clusters import FEW, vector

_CELLS = 2**22


@dataclass(frozen=True)
class Correlation:
    """A correlation with its interval and test.

    Attributes
    ----------
    value, low, high
        The coefficient and the ends of its interval; the ends are NaN where there are too few pairs.
    p
        Two-sided permutation p value.
    floor
        No p can be smaller with this number of pairs and permutations.
    n
        Number of pairs.
    kind
        ``"pearson"`` or ``"spearman"``.
    level
        Confidence level.
    method
        How the interval was made.
    """

    value: float
    low: float
    high: float
    p: float
    floor: float
    n: int
    kind: str
    level: float
    method: str

    def __str__(self) -> str:
        return f"{self.kind} r = {self.value:.2f} [{self.low:.2f}, {self.high:.2f}], p = {self.p:.2g}, n = {self.n}"

    def as_dict(self) -> dict[str, float | int | None]:
        """Return ``{"value", "low", "high", "n", "p"}`` for JSON, with None for NaN."""
        ends = {"value": self.value, "low": self.low, "high": self.high}
        found: dict[str, float | int | None] = {key: None if math.isnan(end) else end for key, end in ends.items()}
        return found | {"n": self.n, "p": self.p}


def correlation(
    x: ArrayLike,
    y: ArrayLike,
    *,
    kind: Literal["pearson", "spearman"] = "pearson",
    level: float = 0.95,
    resamples: int = 2000,
    permutations: int = 9999,
    seed: int,
) -> Correlation:
    """Correlate two series of pairs.

    From 20 pairs on, the interval is made of percentiles over resampled pairs; below, by Fisher's transformation, since
    a bootstrap of few pairs is too narrow.

    Parameters
    ----------
    x, y
        (n,) finite numbers, at least 3, neither constant.
    kind
        ``"pearson"``, or ``"spearman"`` for ranks.
    level
        Confidence level.
    resamples, permutations
        Numbers of bootstrap resamples and of permutations; p is exact where n! is no larger than `permutations`.
    seed
        Seed of both.

    Raises
    ------
    ValueError
        If the lengths differ, there are fewer than 3 pairs, or a series is constant.

    References
    ----------
    Fieller, Hartley and Pearson 1957, Tests for rank correlation coefficients (the 1.06 of Spearman's variance).
    """
    left, right = vector(x), vector(y)
    if len(left) != len(right) or len(left) < 3:
        raise ValueError(f"{len(left)} and {len(right)} values; at least 3 pairs are needed")
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        raise ValueError("a constant series has no correlation")
    if kind not in ("pearson", "spearman"):
        raise ValueError(f"kind is '{kind}'; it must be pearson or spearman")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must lie between 0 and 1")
    ranked, n, rng = kind == "spearman", len(left), np.random.default_rng(seed)
    one, other = (stats.rankdata(left), stats.rankdata(right)) if ranked else (left, right)
    value = float(_pearson(one, other))
    if n >= FEW:
        draws = _resampled(left, right, resamples, rng, ranked=ranked)
        low, high = (float(end) for end in np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2]))
        method = "percentile bootstrap over pairs"
    else:
        low, high = _fisher(value, n, level, ranked=ranked)
        method = "Fisher's transformation" if n > 3 else "none: too few pairs"
    arrangements = math.factorial(min(n, FEW))  # as good as endless from there on
    floor = 1 / arrangements if arrangements <= permutations else 1 / (permutations + 1)
    p = _permuted(one, other, permutations, rng)
    return Correlation(value, low, high, p, floor, n, kind, level, method)


def _pearson(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlate along the last axis; NaN for a constant series."""
    a, b = x - x.mean(axis=-1, keepdims=True), y - y.mean(axis=-1, keepdims=True)
    scale = np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.clip((a * b).sum(axis=-1) / scale, -1.0, 1.0)


def _resampled(
    x: NDArray[np.float64], y: NDArray[np.float64], resamples: int, rng: np.random.Generator, *, ranked: bool
) -> NDArray[np.float64]:
    parts: list[NDArray[np.float64]] = []
    block = max(1, _CELLS // len(x))
    for start in range(0, resamples, block):
        rows = rng.integers(len(x), size=(min(block, resamples - start), len(x)))
        one, other = x[rows], y[rows]
        if ranked:
            one, other = stats.rankdata(one, axis=1), stats.rankdata(other, axis=1)
        parts.append(_pearson(one, other))
    return np.concatenate(parts)


def _fisher(value: float, n: int, level: float, *, ranked: bool) -> tuple[float, float]:
    if n <= 3:
        return math.nan, math.nan
    if abs(value) == 1:
        return value, value
    half = float(stats.norm.ppf((1 + level) / 2)) * math.sqrt((1.06 if ranked else 1.0) / (n - 3))
    centre = math.atanh(value)
    return math.tanh(centre - half), math.tanh(centre + half)


def _permuted(x: NDArray[np.float64], y: NDArray[np.float64], permutations: int, rng: np.random.Generator) -> float:
    def _statistic(shuffled: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        return np.abs(_pearson(np.moveaxis(shuffled, axis, -1), y))

    found = stats.permutation_test(
        (x,),
        _statistic,
        permutation_type="pairings",
        vectorized=True,
        n_resamples=permutations,
        batch=max(1, _CELLS // len(x)),
        alternative="greater",
        rng=rng,
    )
    return float(found.pvalue)
