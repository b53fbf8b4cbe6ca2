"""Groups held out in turn; class sums a fold make every refit a subtraction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast

import numpy as np
from sklearn.base import clone

from emovec_sae.directions.estimators import DiffMean
from emovec_sae.errors import ConfigError


class DirectionEstimator(Protocol):
    """A scikit-learn classifier that leaves `classes_`, `vectors_` (n_classes, d) and `grand_mean_` (d,)."""

    classes_: np.ndarray
    vectors_: np.ndarray
    grand_mean_: np.ndarray

    def fit(self, X: Any, y: Any) -> Any:
        """Fit one vector a class."""
        ...

    def get_params(self) -> dict[str, Any]:
        """Hyperparameters by name."""
        ...


def fresh(estimator: DirectionEstimator, **params: Any) -> DirectionEstimator:
    """An unfitted copy of an estimator, with some of its parameters changed."""
    copy: Any = clone(cast("Any", estimator))
    return copy.set_params(**params)


def described(estimator: DirectionEstimator) -> dict[str, Any]:
    """Name and parameters of an estimator for a record: numbers, texts and None as they are, the rest as its repr."""
    plain = (str, int, float, bool, type(None))
    params = {key: value if isinstance(value, plain) else repr(value) for key, value in estimator.get_params().items()}
    return {"name": type(estimator).__name__, "params": params}


def assign_folds(groups: np.ndarray, *, folds: int | None = None) -> np.ndarray:
    """Put whole groups into folds, shape (n,).

    Parameters
    ----------
    groups
        Group code of each text, shape (n,).
    folds
        Number of folds; None, or as many as there are groups, holds each group out in turn. Otherwise the largest
        groups are dealt first, each to the smallest fold.

    Raises
    ------
    ConfigError
        If there are fewer than two groups or folds: nothing could be held out.
    """
    names, codes, counts = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < 2 or (folds is not None and folds < 2):
        raise ConfigError(
            f"{len(names)} group(s) in {folds or 'as many'} folds: holding out needs at least two groups and two folds"
        )
    if folds is None or folds >= len(names):
        return codes
    sizes = np.zeros(folds, dtype=np.int64)
    fold_of = np.zeros(len(names), dtype=np.int64)
    for group in np.argsort(-counts, kind="stable"):
        fold_of[group] = sizes.argmin()
        sizes[fold_of[group]] += counts[group]
    return fold_of[codes]


class FoldedVectors:
    """Vectors of one site, fitted without chosen folds.

    For `DiffMean` the sums over each (fold, emotion) are kept, so that leaving folds out is a subtraction; any other
    estimator is fitted anew on the texts that remain.

    Parameters
    ----------
    values
        Activations, shape (n, d).
    y
        Emotion codes from 0 to n_emotions - 1, shape (n,).
    folds
        Fold codes, shape (n,).
    emotions
        Names of the emotions, for messages.
    estimator
        How vectors are fitted.
    """

    def __init__(
        self,
        values: np.ndarray,
        y: np.ndarray,
        folds: np.ndarray,
        *,
        emotions: Sequence[str],
        estimator: DirectionEstimator,
    ) -> None:
        self.values, self.y, self.folds = values, y, folds
        self.emotions, self.estimator = emotions, estimator
        shape = (int(folds.max()) + 1, len(emotions))
        self._counts = np.zeros(shape, dtype=np.int64)
        np.add.at(self._counts, (folds, y), 1)
        self._sums = _sums(values, folds, y, shape) if type(estimator) is DiffMean else None

    def without(self, held: Sequence[int]) -> np.ndarray:
        """Vectors fitted on the texts of all folds but `held`, shape (n_emotions, d), float64.

        Raises
        ------
        ConfigError
            If an emotion has no text left.
        """
        held = list(held)
        counts = self._counts.sum(axis=0) - self._counts[held].sum(axis=0)
        if not bool(counts.all()):
            name = self.emotions[int(np.argmin(counts))]
            raise ConfigError(
                f"emotion '{name}' has no text left once {len(held)} fold(s) are held out: it needs texts in at least "
                f"{len(held) + 1} groups; leave it out or give it more groups"
            )
        if self._sums is None:
            keep = ~np.isin(self.folds, held)
            return fresh(self.estimator).fit(self.values[keep], self.y[keep]).vectors_
        means = (self._sums.sum(axis=0) - self._sums[held].sum(axis=0)) / counts[:, None]
        return means - means.mean(axis=0)


def _sums(values: np.ndarray, folds: np.ndarray, y: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Sums over each (fold, emotion) in float64, shape (n_folds, n_emotions, d)."""
    cell = folds * shape[1] + y
    order = np.argsort(cell, kind="stable")
    cells, first = np.unique(cell[order], return_index=True)
    sums = np.zeros((shape[0] * shape[1], values.shape[1]))
    sums[cells] = np.add.reduceat(values[order].astype(np.float64), first, axis=0)
    return sums.reshape(*shape, -1)
