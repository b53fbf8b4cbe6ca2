"""Corrections of p values for many tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats


def benjamini_hochberg(p: ArrayLike) -> NDArray[np.float64]:
    """Q values that control the false discovery rate.

    Parameters
    ----------
    p
        P values of any shape; NaN marks what was not tested, stays NaN and does not count.

    Raises
    ------
    ValueError
        If a value lies outside 0 to 1.

    References
    ----------
    Benjamini and Hochberg 1995, Controlling the false discovery rate.
    """
    array, tested = _checked(p)
    q = np.full(array.shape, np.nan)
    if tested.any():
        q[tested] = stats.false_discovery_control(array[tested], method="bh")
    return q


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """P values corrected to control the chance of any false claim.

    Parameters
    ----------
    p
        P values of any shape; NaN marks what was not tested, stays NaN and does not count.

    Raises
    ------
    ValueError
        If a value lies outside 0 to 1.

    References
    ----------
    Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    array, tested = _checked(p)
    values = array[tested]
    order = np.argsort(values)
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty(len(values))
    corrected[order] = np.minimum(steps, 1.0)
    out = np.full(array.shape, np.nan)
    out[tested] = corrected
    return out


def _checked(p: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    array = np.asarray(p, dtype=float)
    tested = ~np.isnan(array)
    if ((array[tested] < 0) | (array[tested] > 1)).any():
        raise ValueError("p values must lie between 0 and 1")
    return array, tested
