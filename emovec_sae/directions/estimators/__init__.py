"""Estimators of directions, on scikit-learn's contract: one file each."""

from __future__ import annotations

from emovec_sae.directions.estimators.base import DirectionClassifier, MomentClassifier
from emovec_sae.directions.estimators.choose import ESTIMATORS, make_estimator
from emovec_sae.directions.estimators.diff_mean import DiffMean
from emovec_sae.directions.estimators.lda import ShrinkageLDA
from emovec_sae.directions.estimators.logistic import LogisticProbe
from emovec_sae.directions.estimators.moments import Moments
from emovec_sae.directions.estimators.pca import PCADirection
from emovec_sae.directions.estimators.ridge import RidgeAxis
from emovec_sae.directions.estimators.whitened import WhitenedDiffMean

__all__ = [
    "ESTIMATORS",
    "DiffMean",
    "DirectionClassifier",
    "LogisticProbe",
    "MomentClassifier",
    "Moments",
    "PCADirection",
    "RidgeAxis",
    "ShrinkageLDA",
    "WhitenedDiffMean",
    "make_estimator",
]
