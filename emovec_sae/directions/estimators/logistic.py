"""LogisticProbe: multinomial logistic regression, its coefficients as vectors."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from emovec_sae.directions.estimators.base import DirectionClassifier
from emovec_sae.directions.estimators.moments import Moments


class LogisticProbe(DirectionClassifier):
    """Coefficients of a multinomial logistic regression on standardised coordinates, in the coordinates given.

    Parameters
    ----------
    C
        Inverse strength of the penalty on squared coefficients, as scikit-learn has it.
    max_iter
        Most iterations of the solver.
    readout
        As in `DiffMean`.

    Attributes
    ----------
    classes_, vectors_, grand_mean_, stats_
        As in `DiffMean`; the vectors are less their mean over classes.
    n_iter_
        Iterations that the solver took.
    """

    def __init__(self, C: float = 0.01, max_iter: int = 500, readout: str = "zscore") -> None:
        self.C = C
        self.max_iter = max_iter
        self.readout = readout

    def fit(self, X: Any, y: Any) -> Self:
        """Fit one vector a class; X has shape (n_samples, n_features), y (n_samples,).

        Raises
        ------
        ValueError
            As in `DiffMean`.
        """
        values, codes = self._checked(X, y)
        scale = StandardScaler().fit(values)
        # The solver works in the precision that came: twice as fast on single precision, as recordings are.
        rows = np.asarray(scale.transform(values)).astype(np.result_type(np.asarray(X).dtype, np.float32), copy=False)
        found = LogisticRegression(C=self.C, max_iter=self.max_iter).fit(rows, codes)
        weights = found.coef_ / scale.scale_
        weights = np.concatenate([-weights, weights]) / 2 if len(weights) == 1 else weights - weights.mean(axis=0)
        self.vectors_ = weights
        self.grand_mean_ = Moments.of(values, codes, len(self.classes_), second=False).grand_mean
        self.n_iter_ = int(np.max(found.n_iter_))
        self._finish(values, codes)
        return self
