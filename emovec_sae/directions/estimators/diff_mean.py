"""Estimators of emotion directions, on scikit-learn's contract."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from emovec_sae.directions.readouts import ReadoutStats, balanced_weights, read


class DiffMean(ClassifierMixin, BaseEstimator):
    """Difference of means: a class's mean minus the mean over classes of the class means.

    The mean over class means (not over texts) is what is subtracted, so that a class with many texts moves no other
    class's vector. Sofroniew et al. 2026 (arXiv 2604.07729), section on emotion vectors.

    Parameters
    ----------
    readout
        How `decision_function` and `predict` compare an activation with the vectors; see
        `emovec_sae.directions.readouts`.

    Attributes
    ----------
    classes_
        The labels, shape (n_classes,).
    vectors_
        One vector a class, raw norms kept, shape (n_classes, n_features).
    grand_mean_
        Mean over classes of the class means, shape (n_features,).
    stats_
        The training statistics of the readouts, a `ReadoutStats`.

    Examples
    --------
    >>> import numpy as np
    >>> fitted = DiffMean().fit(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 3.0]]), ["a", "b", "b"])
    >>> fitted.vectors_.tolist()
    [[0.5, -1.0], [-0.5, 1.0]]
    """

    def __init__(self, readout: str = "zscore") -> None:
        self.readout = readout

    def fit(self, X: Any, y: Any) -> DiffMean:
        """Fit one vector a class.

        Parameters
        ----------
        X
            Activations, shape (n_samples, n_features).
        y
            Labels, shape (n_samples,).

        Returns
        -------
        DiffMean
            Itself.

        Raises
        ------
        ValueError
            If there are fewer than two classes or values are not finite (scikit-learn's contract).
        """
        checked, labels = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(labels)
        values = np.asarray(checked, dtype=np.float64)
        self.classes_, codes = np.unique(np.asarray(labels), return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"DiffMean compares classes: one class was given, '{self.classes_[0]}', two are needed")
        sums = class_sums(values, codes, len(self.classes_))
        means = sums / np.bincount(codes)[:, None]
        self.grand_mean_ = means.mean(axis=0)
        self.vectors_ = means - self.grand_mean_
        self.stats_ = ReadoutStats.fit(values, self.vectors_, balanced_weights(codes))
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Scores by the readout, shape (n_samples, n_classes); with two classes second minus first, (n_samples,)."""
        check_is_fitted(self)
        values = np.asarray(validate_data(self, X, dtype=[np.float64, np.float32], reset=False), dtype=np.float64)
        scores = read(values, self.vectors_, self.stats_, readout=self.readout)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: Any) -> np.ndarray:
        """The label of the highest score, shape (n_samples,)."""
        scores = self.decision_function(X)
        best = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        return self.classes_[best]


def class_sums(values: np.ndarray, codes: np.ndarray, n_classes: int) -> np.ndarray:
    """Sums of rows by class in float64, shape (n_classes, d); `codes` count from 0."""
    sums = np.zeros((n_classes, values.shape[1]))
    np.add.at(sums, codes, values)
    return sums
