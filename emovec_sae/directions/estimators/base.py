"""What all estimators of emotion directions share: labels in, one vector a class out, and a readout to predict by."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from emovec_sae.directions.estimators.moments import Moments
from emovec_sae.directions.readouts import ReadoutStats, balanced_weights, read

_FLOATS = [np.float64, np.float32]


class DirectionClassifier(ClassifierMixin, BaseEstimator):
    """An estimator with one vector a class; a subclass says how the vectors come about.

    Attributes
    ----------
    classes_
        The labels, shape (n_classes,).
    vectors_
        One vector a class, shape (n_classes, n_features).
    grand_mean_
        Mean over classes of the class means, shape (n_features,).
    stats_
        The training statistics of the readouts, a `ReadoutStats`.
    """

    readout: str
    classes_: np.ndarray
    vectors_: np.ndarray
    grand_mean_: np.ndarray

    def fit(self, X: Any, y: Any) -> Self:
        """Fit one vector a class."""
        raise NotImplementedError

    def _checked(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Finite activations in float64 and class codes, with `classes_` set."""
        checked, labels = validate_data(self, X, y, dtype=_FLOATS)
        check_classification_targets(labels)
        self.classes_, codes = np.unique(np.asarray(labels), return_inverse=True)
        self._enough_classes()
        return np.asarray(checked, dtype=np.float64), codes

    def _enough_classes(self) -> None:
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} compares classes: one class was given, '{self.classes_[0]}', two are needed"
            )

    def _finish(self, values: np.ndarray, codes: np.ndarray) -> None:
        """Take the readouts' statistics of the rows that `vectors_` were fitted on."""
        self.stats_ = ReadoutStats.fit(values, self.vectors_, balanced_weights(codes))

    def decision_function(self, X: Any) -> np.ndarray:
        """Scores by the readout, shape (n_samples, n_classes); with two classes second minus first, (n_samples,)."""
        check_is_fitted(self)
        values = np.asarray(validate_data(self, X, dtype=_FLOATS, reset=False), dtype=np.float64)
        scores = read(values, self.vectors_, self.stats_, readout=self.readout)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: Any) -> np.ndarray:
        """The label of the highest score, shape (n_samples,)."""
        scores = self.decision_function(X)
        best = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        return self.classes_[best]


class MomentClassifier(DirectionClassifier):
    """An estimator whose vectors follow from `Moments` alone, so that it can be fitted in one pass over chunks."""

    needs_second = False
    """Whether `vectors_from` looks at covariances."""

    def vectors_from(self, moments: Moments) -> np.ndarray:
        """One vector a class, shape (n_classes, d), float64."""
        raise NotImplementedError

    def fit(self, X: Any, y: Any) -> Self:
        """Fit one vector a class.

        Parameters
        ----------
        X
            Activations, shape (n_samples, n_features).
        y
            Labels, shape (n_samples,).

        Raises
        ------
        ValueError
            If there are fewer than two classes or values are not finite (scikit-learn's contract).
        """
        values, codes = self._checked(X, y)
        self._moments = Moments.of(values, codes, len(self.classes_), second=True)
        self._take(self._moments)
        self._finish(values, codes)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Self:
        """Add a chunk of rows; memory stays at one matrix of n_features squared.

        Parameters
        ----------
        X, y
            As in `fit`, a chunk of them.
        classes
            All labels that will come, needed at the first call.

        Raises
        ------
        ValueError
            If the first call names no classes, or a label is none of them.
        """
        first = getattr(self, "_moments", None) is None
        if first and classes is None:
            raise ValueError("classes must be given at the first call of partial_fit: all labels that will come")
        checked, labels = validate_data(self, X, y, dtype=_FLOATS, reset=first)
        if first:
            self.classes_ = np.unique(np.asarray(classes))
            self._enough_classes()
        strange = np.setdiff1d(labels, self.classes_)
        if len(strange):
            raise ValueError(f"label '{strange[0]}' is none of the {len(self.classes_)} classes of the first call")
        codes = np.searchsorted(self.classes_, np.asarray(labels))
        start = None if first else self._moments.shift
        chunk = Moments.of(np.asarray(checked), codes, len(self.classes_), shift=start, second=True)
        self._moments = chunk if first else self._moments + chunk
        if bool((self._moments.counts > 0).all()):
            self._take(self._moments)
            self.stats_ = self._moments.stats(self.vectors_)
        return self

    def _take(self, moments: Moments) -> None:
        self.grand_mean_ = moments.grand_mean
        self.vectors_ = self.vectors_from(moments)
