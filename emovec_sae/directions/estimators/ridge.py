"""RidgeAxis: directions of continuous targets, such as valence and arousal."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted, validate_data

ALPHAS = tuple(float(one) for one in np.logspace(0, 6, 13))
"""Penalties among which the ridge chooses, on standardised coordinates."""


class RidgeAxis(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Ridge regression of one or several continuous targets; a vector a target.

    Coordinates are standardised, because a few residual dimensions are many times larger than the rest and would take
    the penalty for themselves. The penalty is chosen by leave-one-out inside the rows that are given.

    Parameters
    ----------
    alphas
        Penalties to choose among, each for itself for every target.

    Attributes
    ----------
    vectors_
        One vector a target, shape (n_targets, n_features): a step along it of length 1 / norm changes the target by 1.
    intercept_
        What is added, shape (n_targets,).
    alpha_
        The penalty of each target, shape (n_targets,).

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(200, 3))
    >>> RidgeAxis().fit(rows, 2 * rows[:, 0] - rows[:, 2]).vectors_.round(1).tolist()
    [[2.0, 0.0, -1.0]]
    """

    def __init__(self, alphas: tuple[float, ...] = ALPHAS) -> None:
        self.alphas = alphas

    def fit(self, X: Any, y: Any) -> Self:
        """Fit one vector a target.

        Parameters
        ----------
        X
            Activations, shape (n_samples, n_features).
        y
            Targets, shape (n_samples,) or (n_samples, n_targets).

        Raises
        ------
        ValueError
            If values are not finite or the lengths differ (scikit-learn's contract).
        """
        checked, targets = validate_data(
            self, X, y, dtype=[np.float64, np.float32], multi_output=True, y_numeric=True, ensure_min_samples=2
        )
        values, wanted = np.asarray(checked, dtype=np.float64), np.asarray(targets, dtype=np.float64)
        self._flat = wanted.ndim == 1
        columns = wanted.reshape(len(wanted), -1)
        scale = StandardScaler().fit(values)
        rows = scale.transform(values)
        found = [RidgeCV(self.alphas).fit(rows, column) for column in columns.T]
        self.vectors_ = np.stack([np.asarray(one.coef_) for one in found]) / scale.scale_
        self.intercept_ = np.array([one.intercept_ for one in found]) - self.vectors_ @ np.asarray(scale.mean_)
        self.alpha_ = np.array([one.alpha_ for one in found])
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Read the targets, shape (n_samples,) or (n_samples, n_targets) as they were given."""
        check_is_fitted(self)
        values = np.asarray(validate_data(self, X, dtype=[np.float64, np.float32], reset=False), dtype=np.float64)
        read = values @ self.vectors_.T + self.intercept_
        return read[:, 0] if self._flat else read
