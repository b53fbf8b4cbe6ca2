"""ShrinkageLDA: linear discriminants, with the covariance within classes."""

from __future__ import annotations

import numpy as np

from emovec_sae.directions.estimators.base import MomentClassifier
from emovec_sae.directions.estimators.covariance import OAS
from emovec_sae.directions.estimators.moments import Moments
from emovec_sae.directions.estimators.whitened import whiten


class ShrinkageLDA(MomentClassifier):
    """Linear discriminant analysis with shrunk correlations: W^-1 (mean of the class - grand mean).

    W is the covariance within classes; classes weigh alike. The vectors are those of scikit-learn's
    `LinearDiscriminantAnalysis` with the same covariance and equal priors, less their mean.

    Parameters
    ----------
    shrinkage
        ``"oas"``, or a share between 0 and 1.
    readout
        As in `DiffMean`; ``discriminant`` gives the decision of linear discriminant analysis itself.

    Attributes
    ----------
    classes_, vectors_, grand_mean_, stats_
        As in `DiffMean`.

    References
    ----------
    Friedman 1989, Regularized Discriminant Analysis.
    """

    needs_second = True

    def __init__(self, shrinkage: str | float = OAS, readout: str = "zscore") -> None:
        self.shrinkage = shrinkage
        self.readout = readout

    def vectors_from(self, moments: Moments) -> np.ndarray:
        """Discriminant vectors, shape (n_classes, d)."""
        return whiten(moments.centred, moments.within(), int(moments.counts.sum()), self.shrinkage)
