"""WhitenedDiffMean: differences of means in coordinates in which all texts vary alike."""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from emovec_sae.directions.estimators.base import MomentClassifier
from emovec_sae.directions.estimators.covariance import OAS, shrink
from emovec_sae.directions.estimators.moments import Moments


class WhitenedDiffMean(MomentClassifier):
    """Difference of means divided by the covariance of all texts: S^-1 (mean of the class - grand mean).

    Reading with it is the inner product of the two whitened vectors. It mends models in which a few huge dimensions
    drown a plain difference of means. S is the covariance over all texts, labels unseen, with shrunk correlations.
    These are vectors to read with: to steer, the plain difference is closer to what the model itself adds.

    Parameters
    ----------
    shrinkage
        ``"oas"``, or a share between 0 and 1.
    readout
        As in `DiffMean`.

    Attributes
    ----------
    classes_, vectors_, grand_mean_, stats_
        As in `DiffMean`.

    References
    ----------
    Marks and Tegmark 2023, The Geometry of Truth (arXiv 2310.06824), section 5: mass-mean probing.
    """

    needs_second = True

    def __init__(self, shrinkage: str | float = OAS, readout: str = "zscore") -> None:
        self.shrinkage = shrinkage
        self.readout = readout

    def vectors_from(self, moments: Moments) -> np.ndarray:
        """Class means less the grand mean, whitened, shape (n_classes, d)."""
        return whiten(moments.centred, moments.total(), int(moments.counts.sum()), self.shrinkage)


def whiten(rows: np.ndarray, covariance: np.ndarray, n: int, shrinkage: str | float) -> np.ndarray:
    """Rows, shape (m, d), times the inverse of a shrunk covariance of `n` texts (pseudo-inverse where it has none)."""
    shrunk = shrink(covariance, n, shrinkage)
    try:
        return cho_solve(cho_factor(shrunk, lower=True), rows.T).T
    except np.linalg.LinAlgError:
        return rows @ np.linalg.pinv(shrunk, hermitian=True)
