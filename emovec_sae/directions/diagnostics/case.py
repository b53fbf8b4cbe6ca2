"""Case: what diagnostics look at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emovec_sae.directions.crossval import Recipe
from emovec_sae.directions.estimators import DiffMean, MomentClassifier, Moments
from emovec_sae.directions.folds import DirectionEstimator, fit_vectors, fresh
from emovec_sae.directions.readouts import check_readout
from emovec_sae.directions.source import Labelled, PooledActivations, labelled, values_at
from emovec_sae.sites import Site


@dataclass(frozen=True, eq=False)
class Case:
    """The labelled texts of a store at one site, and how vectors are made of them.

    Attributes
    ----------
    part
        The texts, in the order of their ids, so that the order of the store plays no part.
    values
        Their pooled activations, shape (n, d).
    site, pool, offset
        Where and how they were pooled.
    estimator, readout
        How vectors are fitted and read.
    seed
        Of whatever is drawn at random.
    """

    part: Labelled
    values: np.ndarray
    site: Site
    pool: str
    offset: int
    estimator: DirectionEstimator
    readout: str
    seed: int

    @classmethod
    def of(
        cls,
        acts: PooledActivations,
        site: str | Site,
        *,
        estimator: DirectionEstimator | None,
        pool: str,
        readout: str,
        seed: int,
    ) -> Case:
        """Take the labelled texts of a store.

        Raises
        ------
        ConfigError, StoreError, MismatchError
            As `emovec_sae.directions.fit_directions`.
        """
        check_readout(readout)
        place, part = Site.parse(site), _by_id(labelled(acts, least=2))
        made = _seeded(DiffMean() if estimator is None else estimator, seed)
        return cls(
            part=part,
            values=values_at(acts, place, pool, part.rows),
            site=place,
            pool=pool,
            offset=acts.offset,
            estimator=Recipe(made, None, pool).at(acts, place),
            readout=readout,
            seed=seed,
        )

    @property
    def texts(self) -> list[str]:
        """The texts themselves."""
        return [str(text) for text in self.part.frame["text"]]

    @property
    def lengths(self) -> tuple[np.ndarray, str]:
        """Length of each text, at least 1, shape (n,), and its unit: tokens where they were counted."""
        if "n_tokens" in self.part.frame.columns and bool(self.part.frame["n_tokens"].notna().all()):
            return np.maximum(self.part.frame["n_tokens"].to_numpy(dtype=np.float64), 1.0), "tokens"
        return np.array([max(len(text), 1) for text in self.texts], dtype=np.float64), "characters"

    def vectors(self, keep: np.ndarray) -> np.ndarray:
        """Vectors fitted on the texts of a mask, shape (n_emotions among them, d), float64."""
        present, y = np.unique(self.part.y[keep], return_inverse=True)
        if isinstance(self.estimator, MomentClassifier):
            second = self.estimator.needs_second
            return self.estimator.vectors_from(Moments.of(self.values[keep], y, len(present), second=second))
        return np.asarray(fit_vectors(fresh(self.estimator), self.values[keep], y, self.part.groups[keep]).vectors_)


def quick(estimator: DirectionEstimator) -> bool:
    """Whether an estimator is refitted in milliseconds: from sums over classes alone."""
    return isinstance(estimator, MomentClassifier) and not estimator.needs_second


def whitens(estimator: DirectionEstimator) -> bool:
    """Whether vectors are divided by a covariance."""
    return isinstance(estimator, MomentClassifier) and estimator.needs_second


def _by_id(part: Labelled) -> Labelled:
    order = part.frame.sort_values(["id", "text"], kind="stable").index.to_numpy()
    frame = part.frame.iloc[order].reset_index(drop=True)
    return Labelled(part.rows[order], part.y[order], part.groups[order], part.emotions, part.group_names, frame)


def _seeded(estimator: DirectionEstimator, seed: int) -> DirectionEstimator:
    """The estimator, with the seed where it draws at random and was given none."""
    if estimator.get_params().get("random_state", 0) is not None:
        return estimator
    return fresh(estimator, random_state=seed)
