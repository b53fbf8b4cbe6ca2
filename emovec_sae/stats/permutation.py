"""Permutation tests: exact where the arrangements are few, otherwise sampled with the floor 1 / (B + 1)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from emovec_sae.stats.clusters import cluster, group_codes, vector

Alternative = Literal["two-sided", "greater", "less"]
"""What counts as at least as extreme as the observed value."""

_CELLS = 2**22
_SIDES: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "two-sided": np.abs,
    "greater": np.positive,
    "less": np.negative,
}


@dataclass(frozen=True)
class PermutationTest:
    """What a permutation test found.

    Attributes
    ----------
    statistic
        The observed value.
    p
        Share of arrangements at least as extreme, the observed one counted in.
    floor
        The smallest p that this design can give.
    n
        Number of values.
    exact
        Whether all arrangements were counted.
    """

    statistic: float
    p: float
    floor: float
    n: int
    exact: bool


def sign_flip(
    values: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    alternative: Alternative = "two-sided",
    permutations: int = 9999,
    seed: int,
) -> PermutationTest:
    """Test whether paired differences are centred on 0, by flipping signs.

    Parameters
    ----------
    values
        (n,) differences.
    groups
        (n,) what flips together; None if each value stands by itself.
    alternative
        ``"greater"`` tests for a mean above 0.
    permutations
        Number of random flips; if there are no more arrangements than this, all are counted.
    seed
        Seed of the flips.

    Returns
    -------
    PermutationTest
        The statistic is the mean over all values.

    Raises
    ------
    ValueError
        If there are no values, a value is not finite, or the lengths differ.
    """
    side = _side(alternative, permutations)
    summed = cluster(values, groups)
    total, count = summed.n, len(summed)

    def _statistic(sums: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        return side(sums.sum(axis=axis) / total)

    found = stats.permutation_test(
        (summed.sums,),
        _statistic,
        permutation_type="samples",
        vectorized=True,
        n_resamples=permutations,
        batch=max(1, _CELLS // count),
        alternative="greater",
        rng=np.random.default_rng(seed),
    )
    # One flip alone is as extreme as the best; on two sides, so is its mirror image.
    exact = 2**count <= permutations
    floor = (2 if alternative == "two-sided" else 1) / 2**count if exact else 1 / (permutations + 1)
    return PermutationTest(float(summed.sums.sum() / total), float(found.pvalue), floor, total, exact)


def label_permutation(
    values: ArrayLike,
    labels: ArrayLike,
    *,
    blocks: ArrayLike | None = None,
    alternative: Alternative = "two-sided",
    permutations: int = 9999,
    seed: int,
) -> PermutationTest:
    """Test whether values differ between labelled and other rows, by permuting the labels.

    Parameters
    ----------
    values
        (n,) numbers.
    labels
        (n,) booleans; at least one of each kind.
    blocks
        (n,) labels are permuted within a block only (the topic, say), which takes the blocks' own differences out.
    alternative
        ``"greater"`` tests for larger values where the label holds.
    permutations
        Number of random permutations; if there are no more arrangements than this, all are counted.
    seed
        Seed of the permutations.

    Returns
    -------
    PermutationTest
        The statistic is mean(labelled) - mean(others). Its p rests on the sum over the labelled rows within blocks.

    Raises
    ------
    ValueError
        If the lengths differ, a value is not finite, or all labels agree.
    """
    side = _side(alternative, permutations)
    array, chosen = vector(values), np.asarray(labels, dtype=bool)
    if chosen.shape != array.shape:
        raise ValueError(f"labels have shape {chosen.shape}, there are {len(array)} values; give one label a value")
    if chosen.all() or not chosen.any():
        raise ValueError("all labels agree; a test needs rows of both kinds")
    codes = np.zeros(len(array), dtype=np.intp) if blocks is None else group_codes(blocks, len(array))
    # Within a block the sum over the labelled rows says all; centring puts its expected value at 0.
    means = np.bincount(codes, weights=array) / np.bincount(codes)
    centred = array - means[codes]
    parts = [(centred[codes == code], int(chosen[codes == code].sum())) for code in range(len(means))]
    arrangements = math.prod(math.comb(len(part), taken) for part, taken in parts)
    exact = arrangements <= permutations
    null = _all_sums(parts) if exact else _random_sums(parts, permutations, seed)
    observed = float(array[chosen].mean() - array[~chosen].mean())
    here, there = side(np.asarray(centred[chosen].sum())), side(null)
    reached = int(np.count_nonzero(there >= here - 1e-12 * np.abs(centred).sum()))
    p = reached / arrangements if exact else (reached + 1) / (permutations + 1)
    # On two sides the swap of the labels is as extreme, where both kinds are as many.
    mirrored = alternative == "two-sided" and all(2 * taken == len(part) for part, taken in parts)
    floor = (1 + mirrored) / arrangements if exact else 1 / (permutations + 1)
    return PermutationTest(observed, p, floor, len(array), exact)


def permuted_labels(
    labels: ArrayLike, *, blocks: ArrayLike | None = None, permutations: int, seed: int
) -> Iterator[NDArray[np.generic]]:
    """Yield permuted copies of labels of any kind, to run a whole pipeline on; within blocks if given.

    Raises
    ------
    ValueError
        If there are not as many blocks as labels.
    """
    array = np.asarray(labels)
    codes = np.zeros(len(array), dtype=np.intp) if blocks is None else group_codes(blocks, len(array))
    rows = [np.flatnonzero(codes == code) for code in range(codes.max(initial=-1) + 1)]
    rng = np.random.default_rng(seed)
    for _ in range(permutations):
        copy = array.copy()
        for block in rows:
            copy[block] = array[rng.permutation(block)]
        yield copy


def permutation_p(observed: ArrayLike, null: ArrayLike, *, alternative: Alternative = "greater") -> NDArray[np.float64]:
    """P values of observed statistics against sampled null statistics, each with the floor 1 / (B + 1).

    Parameters
    ----------
    observed
        Statistics of any shape.
    null
        (B, ...) statistics of B random arrangements, then the shape of `observed`.
    alternative
        ``"two-sided"`` compares absolute values.
    """
    there = np.asarray(null, dtype=float)
    side = _side(alternative, len(there))
    reached = (side(there) >= side(np.asarray(observed, dtype=float))).sum(axis=0)
    return (reached + 1) / (len(there) + 1)


def max_t_p(observed: ArrayLike, null: ArrayLike) -> NDArray[np.float64]:
    """P values of m two-sided tests, corrected for all of them by the maximum of each arrangement.

    Parameters
    ----------
    observed
        (m,) statistics on one scale (t values, say).
    null
        (B, m) statistics of B random arrangements.

    References
    ----------
    Westfall and Young 1993, Resampling-based multiple testing (single-step max-T).
    """
    largest = np.abs(np.asarray(null, dtype=float)).max(axis=1)
    return permutation_p(np.abs(np.asarray(observed, dtype=float)), largest[:, None])


def _side(alternative: str, permutations: int) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    if alternative not in _SIDES:
        raise ValueError(f"alternative is '{alternative}'; it must be one of {', '.join(_SIDES)}")
    if permutations < 1:
        raise ValueError(f"{permutations} permutations; at least 1 is needed")
    return _SIDES[alternative]


def _all_sums(parts: list[tuple[NDArray[np.float64], int]]) -> NDArray[np.float64]:
    """Sums of every way to take so many values of each block."""
    sums = np.zeros(1)
    for part, taken in parts:
        own = np.array([part[list(rows)].sum() for rows in itertools.combinations(range(len(part)), taken)])
        sums = np.add.outer(sums, own).ravel()
    return sums


def _random_sums(parts: list[tuple[NDArray[np.float64], int]], permutations: int, seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    sums = np.zeros(permutations)
    for part, taken in parts:
        block = max(1, _CELLS // len(part))
        for start in range(0, permutations, block):
            size = min(block, permutations - start)
            drawn = rng.permuted(np.broadcast_to(part, (size, len(part))), axis=1)
            sums[start : start + size] += drawn[:, :taken].sum(axis=1)
    return sums
