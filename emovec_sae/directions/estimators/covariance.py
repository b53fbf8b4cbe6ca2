"""Shrinkage of covariances: towards independent coordinates of their own variance, by a closed formula."""

from __future__ import annotations

from numbers import Real

import numpy as np

OAS = "oas"


def shrink(covariance: np.ndarray, n: int, shrinkage: str | float) -> np.ndarray:
    """Shrink the correlations of a covariance towards 0.

    Coordinates are brought to unit variance first: a few residual dimensions have thousands of times the variance of
    the rest, and shrinking towards a multiple of the identity would drown the rest in theirs.

    Parameters
    ----------
    covariance
        Empirical covariance, shape (d, d).
    n
        Rows that it rests on.
    shrinkage
        ``"oas"``, the oracle approximating formula, or a share between 0 (none) and 1 (independent coordinates).

    Returns
    -------
    np.ndarray
        Shape (d, d), positive definite unless `shrinkage` is 0. A coordinate without variance gets a variance of 1.

    Raises
    ------
    ValueError
        If `shrinkage` is something else.

    References
    ----------
    Chen, Wiesel, Eldar and Hero 2010, Shrinkage algorithms for MMSE covariance estimation, eq. 23.
    """
    deviation = np.sqrt(np.clip(np.diag(covariance), 0, None))
    deviation = np.where(deviation > 0, deviation, 1.0)
    correlation = covariance / np.outer(deviation, deviation)
    share = oas_share(correlation, n) if shrinkage == OAS else checked_share(shrinkage)
    shrunk = (1 - share) * correlation
    shrunk[np.diag_indices_from(shrunk)] = 1.0
    return shrunk * np.outer(deviation, deviation)


def oas_share(covariance: np.ndarray, n: int) -> float:
    """How far the formula shrinks towards a multiple of the identity, between 0 and 1."""
    d = len(covariance)
    mean_square = float(np.square(covariance).mean())
    level = float(np.trace(covariance) / d) ** 2
    below = (n + 1) * (mean_square - level / d)
    return 1.0 if below <= 0 else min((mean_square + level) / below, 1.0)


def checked_share(shrinkage: str | float) -> float:
    """A share between 0 and 1, or a `ValueError`."""
    if isinstance(shrinkage, str) or not isinstance(shrinkage, Real) or not 0 <= float(shrinkage) <= 1:
        raise ValueError(f"shrinkage is {shrinkage!r}; 'oas' or a share from 0 to 1 is wanted")
    return float(shrinkage)
