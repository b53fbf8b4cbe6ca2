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
from emovec_sae.directions.threads import one_thread
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
    inner
        Texts read rightly (first, in the first five) by inner folds, shape (n_folds, n_sites, 2), or None.
    """

    sites: tuple[Site, ...]
    readouts: tuple[str, ...]
    rank: np.ndarray
    predicted: np.ndarray
    auroc: np.ndarray
    inner: np.ndarray | None = None

    def at(self, site: int | np.ndarray, readout: int) -> Ranked:
        """Readings at one site, or at a site of its own for each text, (n,) indices into `sites`."""
        texts = np.arange(self.rank.shape[2])
        where = (np.broadcast_to(site, texts.shape), readout, texts)
        return Ranked(self.rank[where], self.predicted[where], self.auroc[where])

    def best(self, readout: int) -> int:
        """Index of the site that all texts together favour: top-1, then top-5, then the earliest."""
        return best_site(np.stack([(self.rank[:, readout] <= top).sum(axis=1) for top in (1, 5)], axis=1))

    def chosen(self, n_folds: int) -> np.ndarray:
        """Index of the site that each held-out fold's training folds favour, shape (n_folds,); 0 without a choice."""
        if self.inner is None:
            return np.zeros(n_folds, dtype=np.int64)
        return np.array([best_site(hits) for hits in self.inner])


def sweep(
    acts: PooledActivations,
    part: Labelled,
    folds: np.ndarray,
    *,
    sites: Sequence[Site],
    readouts: Sequence[str],
    recipe: Recipe,
    choose_by: str | None = None,
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
    choose_by
        A readout by which each held-out fold's site is chosen among its training folds (`Sweep.chosen`); None
        chooses nothing.

    Raises
    ------
    ConfigError
        If a site is to be chosen and there are fewer than three folds.
    """
    n_folds = int(folds.max()) + 1
    if choose_by is not None and n_folds < 3:
        raise ConfigError(
            f"choosing among {len(sites)} sites inside each held-out fold needs at least three groups, there are "
            f"{n_folds}; give one site"
        )
    shape = (len(sites), len(readouts), len(part))
    found = Sweep(
        tuple(sites), tuple(readouts), rank=np.zeros(shape, dtype=np.int64), predicted=np.zeros(shape, dtype=np.int64),
        auroc=np.full(shape, np.nan), inner=None if choose_by is None else np.zeros((n_folds, len(sites), 2)),
    )  # fmt: skip
    with one_thread():
        for at, site in enumerate(sites):
            reader = _Reader(acts, part, folds, site=site, recipe=recipe)
            _outer(reader, found, at)
            if choose_by is not None and found.inner is not None:
                found.inner[:, at] = _inner(reader, n_folds, choose_by)
    return found


def _outer(reader: _Reader, found: Sweep, at: int) -> None:
    """Fill in the readings at one site."""
    for fold in range(int(reader.folds.max()) + 1):
        test = reader.folds == fold
        for which, scores in enumerate(reader.scores([fold], [test], found.readouts)[0]):
            ranked = rank_texts(scores, reader.y[test])
            found.rank[at, which, test], found.predicted[at, which, test] = ranked.rank, ranked.predicted
            found.auroc[at, which, test] = ranked.auroc


def _inner(reader: _Reader, n_folds: int, readout: str) -> np.ndarray:
    """Texts read rightly (first, in the first five) among the training folds of each held-out fold, (n_folds, 2).

    For the held-out fold a, each other fold b is read by vectors fitted without a and b. The same vectors serve a
    inside b and b inside a, which halves the work.
    """
    hits = np.zeros((n_folds, 2))
    for first in range(n_folds):
        for second in range(first + 1, n_folds):
            tests = [reader.folds == first, reader.folds == second]
            scored = reader.scores([first, second], tests, [readout])
            for outer, test, scores in zip((second, first), tests, scored, strict=True):
                rank = own_ranks(scores[0], reader.y[test])
                hits[outer] += (rank <= 1).sum(), (rank <= 5).sum()
    return hits


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
        """Scores (texts, emotions) of each set of test rows under each readout, by what is known without `held`."""
        units = unit_rows(project_out(self.vectors.without(held), self.components)).astype(self.values.dtype)
        projections = self.values @ units.T
        train = ~np.isin(self.folds, held)
        stats = ReadoutStats.of_projections(self.values[train], projections[train], balanced_weights(self.y[train]))
        return [
            [read_projections(self.values[test], projections[test], units, stats, readout=name) for name in readouts]
            for test in tests
        ]
