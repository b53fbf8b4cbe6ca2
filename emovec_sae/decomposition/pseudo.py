"""Directions of permuted labels: the whole way from texts to vectors, gone again with labels that mean nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from emovec_sae.directions.estimators import ESTIMATORS
from emovec_sae.directions.folds import fit_vectors
from emovec_sae.stats import permuted_labels

if TYPE_CHECKING:
    from emovec_sae.decomposition.sources import PooledTexts
    from emovec_sae.directions.direction_set import DirectionSet

ROUNDS = 4
"""Fewest permutations that the draws come from; each gives a vector an emotion."""


def why_not(whole: DirectionSet) -> str | None:
    """Why the estimator of these directions cannot be run again on permuted labels; None if it can."""
    name, params = whole.estimator.get("name"), dict(whole.estimator.get("params", {}))
    if name not in {made.__name__ for made in ESTIMATORS.values()}:
        return f"the estimator {name} is not one of labels"
    if params.get("against") is not None:
        return f"{name} was fitted against texts that the directions do not carry"
    return None


def pseudo_vectors(whole: DirectionSet, texts: PooledTexts, *, n: int, seed: int) -> np.ndarray:
    """Vectors of permuted labels, shape (n, d), by the directions' own estimator; nothing is projected out yet.

    Emotions change hands within groups only, so that a vector of permuted labels is a balanced difference of texts
    about the same topics. The estimator must be one that `why_not` lets pass.
    """
    made = {one.__name__: one for one in ESTIMATORS.values()}[str(whole.estimator["name"])]
    params = dict(whole.estimator.get("params", {}))
    rounds = max(ROUNDS, -(-n // len(whole.emotions)))
    found: list[np.ndarray] = []
    for labels in permuted_labels(texts.emotion, blocks=texts.group, permutations=rounds, seed=seed):
        fitted = fit_vectors(made(**params), texts.values, np.asarray(labels), texts.group)
        found.append(np.asarray(fitted.vectors_, dtype=np.float64))
    every = np.concatenate(found)
    return every[np.random.default_rng(seed).permutation(len(every))[:n]]
