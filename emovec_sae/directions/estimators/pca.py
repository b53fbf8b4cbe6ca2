"""PCADirection: the leading component of paired differences."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from emovec_sae.directions.estimators.base import DirectionClassifier
from emovec_sae.directions.estimators.moments import Moments


class PCADirection(DirectionClassifier):
    """First principal component of the differences between a class's rows and their pairs, turned towards the class.

    The pair of a row is the mean of the other classes' rows of its group (the same topic), or of all groups where
    there are no groups or the group has no other class. Differences are not centred: what they have in common is what
    is looked for. A vector is as long as the mean difference along it.

    Parameters
    ----------
    readout
        As in `DiffMean`.

    Attributes
    ----------
    classes_, vectors_, grand_mean_, stats_
        As in `DiffMean`.
    explained_
        Share of the sum of squares of the differences that lies along each vector, shape (n_classes,).

    References
    ----------
    Zou et al. 2023, Representation Engineering (arXiv 2310.01405), section 3.1: linear artificial tomography.
    """

    def __init__(self, readout: str = "zscore") -> None:
        self.readout = readout

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Fit one vector a class.

        Parameters
        ----------
        X
            Activations, shape (n_samples, n_features).
        y
            Labels, shape (n_samples,).
        groups
            Group of each row, shape (n_samples,); None pairs with the mean of all other classes' rows.

        Raises
        ------
        ValueError
            As in `DiffMean`, or if there are not as many groups as rows.
        """
        values, codes = self._checked(X, y)
        pairs = _paired(values, codes, None if groups is None else np.asarray(groups))
        self.grand_mean_ = Moments.of(values, codes, len(self.classes_), second=False).grand_mean
        found = [_leading(values[codes == code] - pairs[codes == code]) for code in range(len(self.classes_))]
        self.vectors_ = np.stack([vector for vector, _ in found])
        self.explained_ = np.array([share for _, share in found])
        self._finish(values, codes)
        return self


def _paired(values: np.ndarray, codes: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Mean of the other classes' rows of each row's group, shape (n, d)."""
    if groups is not None and groups.shape != codes.shape:
        raise ValueError(f"groups have shape {groups.shape}, there are {len(codes)} rows; give one group a row")
    everywhere = _others(values, codes)
    if groups is None:
        return everywhere
    pairs = everywhere.copy()
    for group in np.unique(groups):
        mine = groups == group
        if len(np.unique(codes[mine])) > 1:
            pairs[mine] = _others(values[mine], codes[mine])
    return pairs


def _others(values: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """For each row the mean of the class means of the other classes, shape (n, d)."""
    present, inverse = np.unique(codes, return_inverse=True)
    means = np.stack([values[inverse == code].mean(axis=0) for code in range(len(present))])
    return ((means.sum(axis=0) - means) / (len(present) - 1))[inverse]


def _leading(differences: np.ndarray) -> tuple[np.ndarray, float]:
    """The leading direction of rows, as long as their mean along it, and its share of their squares."""
    mean = differences.mean(axis=0)
    total = float(np.square(differences).sum())
    if total == 0:
        return np.zeros_like(mean), 0.0
    _, sizes, axes = np.linalg.svd(differences, full_matrices=False)
    return axes[0] * float(axes[0] @ mean), float(sizes[0] ** 2 / total)
