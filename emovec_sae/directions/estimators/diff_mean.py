"""DiffMean: the difference of means of Sofroniew et al."""

from __future__ import annotations

from typing import Any

import numpy as np

from emovec_sae.directions.estimators.base import MomentClassifier
from emovec_sae.directions.estimators.moments import Moments
from emovec_sae.directions.source import PooledActivations, neutral_values
from emovec_sae.sites import Site


class DiffMean(MomentClassifier):
    """Difference of means: a class's mean minus a reference.

    The reference is the mean over classes of the class means (not over texts), so that a class with many texts moves
    no other class's vector; or the mean of neutral texts. Sofroniew et al. 2026 (arXiv 2604.07729), section on emotion
    vectors.

    Parameters
    ----------
    against
        None for the grand mean; activations of neutral texts, shape (n_texts, n_features); or a store of them, of
        which `at` takes those of a site.
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

    def __init__(self, against: PooledActivations | np.ndarray | None = None, readout: str = "zscore") -> None:
        self.against = against
        self.readout = readout

    def at(self, site: Site, *, pool: str, model: Any) -> DiffMean:
        """The estimator with the neutral texts of a site; this object stays as it is.

        Raises
        ------
        MismatchError
            If the neutral texts were recorded from another model.
        """
        if self.against is None or isinstance(self.against, np.ndarray):
            return self
        return DiffMean(neutral_values(self.against, site, pool=pool, model=model), readout=self.readout)

    def vectors_from(self, moments: Moments) -> np.ndarray:
        """Class means less the reference, shape (n_classes, d)."""
        if self.against is None:
            return moments.centred
        if not isinstance(self.against, np.ndarray) or self.against.ndim != 2:
            raise ValueError("against is a store: take `at` a site first, or give an array (n_texts, n_features)")
        return moments.centred + (moments.grand_mean - self.against.mean(axis=0, dtype=np.float64))
