"""Sums over clusters: what every interval and test of the package stands on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FEW = 20
"""Below so many clusters a percentile interval is too narrow, and a t interval is used.

Simulated coverage of a nominal 95 % percentile interval: .51 with 2 clusters, .78 with 4, .87 with 8, .94 with 24.
"""


@dataclass(frozen=True)
class Clusters:
    """Values summed by cluster.

    Attributes
    ----------
    sums
        (n_clusters,) sum of the values of each cluster.
    counts
        (n_clusters,) number of values of each.
    n
        Number of values.
    """

    sums: NDArray[np.float64]
    counts: NDArray[np.float64]
    n: int

    def __len__(self) -> int:
        return len(self.sums)


def cluster(values: ArrayLike, groups: ArrayLike | None = None) -> Clusters:
    """Sum values by group; without groups each value is a cluster of its own.

    Raises
    ------
    ValueError
        If there are no values, a value is not finite, or there are not as many groups as values.
    """
    array = vector(values)
    if groups is None:
        return Clusters(array, np.ones(len(array)), len(array))
    codes = group_codes(groups, len(array))
    return Clusters(np.bincount(codes, weights=array).astype(float), np.bincount(codes).astype(float), len(array))


def vector(values: ArrayLike) -> NDArray[np.float64]:
    """Return values as a one-dimensional float array; refuse none and what is not finite."""
    array = np.asarray(values, dtype=float)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"values have shape {array.shape}; one dimension with at least one value is needed")
    if not np.isfinite(array).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(array))} of {len(array)} values are not finite")
    return array


def group_codes(groups: ArrayLike, n: int) -> NDArray[np.intp]:
    """Number the groups from 0."""
    array = np.asarray(groups)
    if array.shape != (n,):
        raise ValueError(f"groups have shape {array.shape}, there are {n} values; give one group a value")
    return np.unique(array, return_inverse=True)[1]
