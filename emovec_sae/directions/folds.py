"""Groups held out in turn; the moments of a fold make every refit a subtraction."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import cached_property, reduce
from typing import Any, Protocol, cast

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import has_fit_parameter

from emovec_sae.directions.estimators import MomentClassifier, Moments
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
    params = {key: value if isinstance(value, plain) else _told(value) for key, value in estimator.get_params().items()}
    return {"name": type(estimator).__name__, "params": params}


def short(estimator: DirectionEstimator) -> str:
    """An estimator with the parameters that are not its defaults, for tables: ``ShrinkageLDA(shrinkage=0.5)``."""
    usual = type(estimator)().get_params()
    differ = {key: value for key, value in estimator.get_params().items() if key in usual and value is not usual[key]}
    told = [
        f"{key}={value if isinstance(value, str | int | float) else 'given'}"
        for key, value in differ.items()
        if not (isinstance(value, str | int | float | tuple) and value == usual[key])
    ]
    return f"{type(estimator).__name__}({', '.join(told)})" if told else type(estimator).__name__


def _told(value: Any) -> str:
    return f"array of shape {value.shape}" if isinstance(value, np.ndarray) else repr(value)


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

    For a `MomentClassifier` the moments of each fold are kept, so that leaving folds out is a subtraction; any other
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
    groups
        Group codes, shape (n,), for an estimator that pairs texts within groups; None means the folds.
    """

    def __init__(
        self,
        values: np.ndarray,
        y: np.ndarray,
        folds: np.ndarray,
        *,
        emotions: Sequence[str],
        estimator: DirectionEstimator,
        groups: np.ndarray | None = None,
    ) -> None:
        self.values, self.y, self.folds = values, y, folds
        self.groups = folds if groups is None else groups
        self.emotions, self.estimator = emotions, estimator
        self._counts = np.zeros((int(folds.max()) + 1, len(emotions)), dtype=np.int64)
        np.add.at(self._counts, (folds, y), 1)
        self._parts = _moments(values, y, folds, estimator) if isinstance(estimator, MomentClassifier) else []

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
        if isinstance(self.estimator, MomentClassifier):
            return self.estimator.vectors_from(self._rest(held))
        keep = ~np.isin(self.folds, held)
        return fit_vectors(fresh(self.estimator), self.values[keep], self.y[keep], self.groups[keep]).vectors_

    def only(self, folds: Sequence[int] | np.ndarray) -> np.ndarray:
        """Vectors fitted on the texts of these folds alone, shape (n_emotions, d); see `without`."""
        kept = [int(fold) for fold in folds]
        return self.without([fold for fold in range(len(self._counts)) if fold not in kept])

    def _rest(self, held: list[int]) -> Moments:
        """Moments of the folds that are not held out, by the shorter way."""
        if 2 * len(held) > len(self._parts):
            return reduce(operator.add, [part for fold, part in enumerate(self._parts) if fold not in held])
        return reduce(operator.sub, [self._parts[fold] for fold in held], self._whole)

    @cached_property
    def _whole(self) -> Moments:
        return reduce(operator.add, self._parts)


def fit_vectors(estimator: Any, values: np.ndarray, y: np.ndarray, groups: np.ndarray) -> Any:
    """Fit an estimator, with the groups if it takes them."""
    given = {"groups": groups} if has_fit_parameter(estimator, "groups") else {}
    return estimator.fit(values, y, **given)


def _moments(values: np.ndarray, y: np.ndarray, folds: np.ndarray, estimator: MomentClassifier) -> list[Moments]:
    """Moments of each fold."""
    shift = values.mean(axis=0, dtype=np.float64)
    count = int(y.max()) + 1
    return [
        Moments.of(values[folds == fold], y[folds == fold], count, shift=shift, second=estimator.needs_second)
        for fold in range(int(folds.max()) + 1)
    ]
