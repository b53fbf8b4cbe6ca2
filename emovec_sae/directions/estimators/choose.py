"""Estimators by name, with the options that they take."""

from __future__ import annotations

from typing import Any

from emovec_sae.directions.estimators.base import DirectionClassifier
from emovec_sae.directions.estimators.diff_mean import DiffMean
from emovec_sae.directions.estimators.lda import ShrinkageLDA
from emovec_sae.directions.estimators.logistic import LogisticProbe
from emovec_sae.directions.estimators.pca import PCADirection
from emovec_sae.directions.estimators.whitened import WhitenedDiffMean
from emovec_sae.errors import ConfigError, suggest

ESTIMATORS: dict[str, type[DirectionClassifier]] = {
    "diff-mean": DiffMean,
    "whitened-diff-mean": WhitenedDiffMean,
    "pca": PCADirection,
    "logistic": LogisticProbe,
    "lda": ShrinkageLDA,
}
"""Estimators of emotion vectors by the names of the command line."""


def make_estimator(name: str, *, shrinkage: str | float | None = None, **options: Any) -> DirectionClassifier:
    """An estimator by its name.

    Parameters
    ----------
    name
        One of `ESTIMATORS`.
    shrinkage
        ``"oas"`` or a share from 0 to 1, as a number or its text.
    **options
        Other parameters of the estimator; those that are None are left at their default.

    Raises
    ------
    ConfigError
        If there is no such estimator, or it does not take an option.
    """
    if name not in ESTIMATORS:
        raise ConfigError(f"unknown estimator '{name}'{suggest(name, ESTIMATORS)}; there are {', '.join(ESTIMATORS)}")
    given = {key: value for key, value in {"shrinkage": _share(shrinkage), **options}.items() if value is not None}
    made = ESTIMATORS[name]
    takes = made().get_params()
    for key in given:
        if key not in takes:
            raise ConfigError(f"the estimator '{name}' takes no {key}; it takes {', '.join(takes)}")
    return made(**given)


def _share(shrinkage: str | float | None) -> str | float | None:
    if not isinstance(shrinkage, str) or shrinkage == "oas":
        return shrinkage
    try:
        share = float(shrinkage)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ConfigError(f"shrinkage is '{shrinkage}'; oas, or a share from 0 to 1 is wanted")
    return share
