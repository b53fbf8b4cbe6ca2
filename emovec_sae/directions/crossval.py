"""Cross-validation of directions: each fold of groups is read by vectors that never saw it, at every site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emovec_sae.directions.denoise import NeutralComponents, project_out
from emovec_sae.directions.folds import DirectionEstimator, FoldedVectors
from emovec_sae.directions.ranking import Ranked, own_ranks, rank_texts
from emovec_sae.directions.readouts import ReadoutStats, balanced_weights, read_projections, unit_rows
from emovec_sae.directions.source import Labelled, PooledActivations, values_at
from emovec_sae.errors import ConfigError, MismatchError
from emovec_sae.sites import Site


@dataclass(frozen=True)
class Recipe:
    """How vectors are made from texts: estimator, denoising and pool, the same in every fold.

    Attributes
    ----------
    estimator
        How vectors are fitted.
    remove
        What is projected out of them, or None.
    pool
        How texts are pooled.
    """

    estimator: DirectionEstimator
    remove: NeutralComponents | None
    pool: str

    def components(self, acts: PooledActivations, site: Site) -> np.ndarray:
        """Orthonormal rows that are projected out of the vectors at a site, shape (m, d)."""
        d_model = int(acts.model["d_model"])
        if self.remove is None:
            return np.zeros((0, d_model))
        found = self.remove.at(site, pool=self.pool, model=acts.model).components_
        if found.shape[1] != d_model:
            raise MismatchError(f"the neutral activations have {found.shape[1]} dimensions, the texts {d_model}")
        return found


@dataclass(frozen=True, eq=False)
class Sweep:
    """Readings of n texts, each by vectors fitted without its fold.

    Attributes
    ----------
    sites, readouts
        The axes of the arrays.
    rank, predicted, auroc
        As in `Ranked`, shape (n_sites, n_readouts, n).
    """

    sites: tuple[Site, ...]
    readouts: tuple[str, ...]
    rank: np.ndarray
    predicted: np.ndarray
    auroc: np.ndarray

    def at(self, site: int | np.ndarray, readout: int) -> Ranked:
        """Readings at one site, or at a site of its own for each text, (n,) indices into `sites`."""
        texts = np.arange(self.rank.shape[2])
        where = (np.broadcast_to(site, texts.shape), readout, texts)
        return Ranked(self.rank[where], self.predicted[where], self.auroc[where])


def sweep(
    acts: PooledActivations,
    part: Labelled,
    folds: np.ndarray,
    *,
    sites: Sequence[Site],
    readouts: Sequence[str],
    recipe: Recipe,
) -> Sweep:
    """Read every text at every site by vectors and statistics of the other folds.

    Parameters
    ----------
    acts, part
        The store and its labelled rows.
    folds
        Fold code of each labelled row, shape (n,).
    sites, readouts
        What to go through.
    recipe
        How vectors are made.
    """
    shape = (len(sites), len(readouts), len(part))
    rank, predicted = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    auroc = np.full(shape, np.nan)
    for at, site in enumerate(sites):
        reader = _Reader(acts, part, folds, site=site, recipe=recipe)
        for fold in range(int(folds.max()) + 1):
            test = folds == fold
            for which, scores in enumerate(reader.scores([fold], [test], readouts)[0]):
                found = rank_texts(scores, part.y[test])
                rank[at, which, test], predicted[at, which, test] = found.rank, found.predicted
                auroc[at, which, test] = found.auroc
    return Sweep(tuple(sites), tuple(readouts), rank, predicted, auroc)


def choose_sites(
    acts: PooledActivations,
    part: Labelled,
    folds: np.ndarray,
    *,
    sites: Sequence[Site],
    readout: str,
    recipe: Recipe,
) -> np.ndarray:
    """Choose a site for each held-out fold by inner held-out folds of its training folds, shape (n_folds,).

    For the fold a, each other fold b is read by vectors fitted without a and b; the site with the most texts read
    rightly wins (top-1, then top-5, then the earliest). The same vectors serve a inside b and b inside a, which halves
    the work.

    Returns
    -------
    np.ndarray
        Index into `sites`, shape (n_folds,).

    Raises
    ------
    ConfigError
        If there are fewer than three folds.
    """
    n_folds = int(folds.max()) + 1
    if n_folds < 3:
        raise ConfigError(
            f"choosing among {len(sites)} sites inside each held-out fold needs at least three groups, there are "
            f"{n_folds}; give one site"
        )
    hits = np.zeros((n_folds, len(sites), 2))
    for at, site in enumerate(sites):
        reader = _Reader(acts, part, folds, site=site, recipe=recipe)
        for first in range(n_folds):
            for second in range(first + 1, n_folds):
                tests = [folds == first, folds == second]
                for outer, test, scores in zip(
                    (second, first), tests, reader.scores([first, second], tests, [readout]), strict=True
                ):
                    rank = own_ranks(scores[0], part.y[test])
                    hits[outer, at] += (rank <= 1).sum(), (rank <= 5).sum()
    return np.array([best_site(hits[fold]) for fold in range(n_folds)])


def best_site(hits: np.ndarray) -> int:
    """Row with the highest first column, then the highest second, then the first of all; shape (n_sites, 2)."""
    return int(np.lexsort((-np.arange(len(hits)), hits[:, 1], hits[:, 0]))[-1])


class _Reader:
    """Scores of held-out folds at one site."""

    def __init__(
        self, acts: PooledActivations, part: Labelled, folds: np.ndarray, *, site: Site, recipe: Recipe
    ) -> None:
        self.values = values_at(acts, site, recipe.pool, part.rows)
        self.y, self.folds = part.y, folds
        self.components = recipe.components(acts, site)
        self.vectors = FoldedVectors(self.values, part.y, folds, emotions=part.emotions, estimator=recipe.estimator)

    def scores(
        self, held: Sequence[int], tests: Sequence[np.ndarray], readouts: Sequence[str]
    ) -> list[list[np.ndarray]]:
        """Scores (texts, emotions) of each set of test rows under each readout; vectors and statistics without `held`."""
        units = unit_rows(project_out(self.vectors.without(held), self.components)).astype(self.values.dtype)
        projections = self.values @ units.T
        train = ~np.isin(self.folds, held)
        stats = ReadoutStats.of_projections(self.values[train], projections[train], balanced_weights(self.y[train]))
        return [
            [read_projections(self.values[test], projections[test], units, stats, readout=name) for name in readouts]
            for test in tests
        ]
