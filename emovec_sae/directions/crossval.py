"""Cross-validation of directions: each fold of groups is read by vectors that never saw it, at every site."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed

from emovec_sae.directions.denoise import NeutralComponents, project_out
from emovec_sae.directions.estimators import DiffMean
from emovec_sae.directions.folds import DirectionEstimator, FoldedVectors
from emovec_sae.directions.ranking import Ranked, own_ranks, rank_texts
from emovec_sae.directions.readouts import ReadoutStats, balanced_weights, read_projections, unit_rows
from emovec_sae.directions.source import Labelled, PooledActivations, values_at
from emovec_sae.directions.threads import one_thread
from emovec_sae.errors import ConfigError, MismatchError
from emovec_sae.sites import Site

_MEMORY = 2**32
"""Bytes that the threads of a sweep may take together."""


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

    def at(self, acts: PooledActivations, site: Site) -> DirectionEstimator:
        """The estimator at a site: one that takes neutral texts gets those of the site."""
        if isinstance(self.estimator, DiffMean):
            return self.estimator.at(site, pool=self.pool, model=acts.model)
        return self.estimator

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
    """Readings of n texts, each by vectors fitted without its fold, in every way (recipe, site, readout).

    Attributes
    ----------
    recipes, sites, readouts
        The axes of the arrays.
    rank, predicted, auroc
        As in `Ranked`, shape (n_recipes, n_sites, n_readouts, n).
    choices
        Indices of the readouts among which the inner folds chose.
    inner
        Texts read rightly (first, in the first five) by inner folds, shape (n_folds, n_recipes, n_sites, n_choices,
        2), or None.
    """

    recipes: tuple[Recipe, ...]
    sites: tuple[Site, ...]
    readouts: tuple[str, ...]
    rank: np.ndarray
    predicted: np.ndarray
    auroc: np.ndarray
    choices: tuple[int, ...]
    inner: np.ndarray | None = None

    def at(self, way: np.ndarray) -> Ranked:
        """Readings in one way (recipe, site, readout), shape (3,), or in a way of its own for each text, (n, 3)."""
        texts = np.arange(self.rank.shape[-1])
        where = (*np.broadcast_to(way, (len(texts), 3)).T, texts)
        return Ranked(self.rank[where], self.predicted[where], self.auroc[where])

    def best(self) -> np.ndarray:
        """The way that all texts together favour, shape (3,): top-1, then top-5, then the earliest."""
        found = self.rank[:, :, list(self.choices)]
        return self._way(np.stack([(found <= top).sum(axis=-1) for top in (1, 5)], axis=-1))

    def chosen(self, n_folds: int) -> np.ndarray:
        """The way that each held-out fold's training folds favour, shape (n_folds, 3); zeros without a choice."""
        if self.inner is None:
            return np.tile([0, 0, self.choices[0]], (n_folds, 1))
        return np.stack([self._way(hits) for hits in self.inner])

    def _way(self, hits: np.ndarray) -> np.ndarray:
        recipe, site, choice = np.unravel_index(first_best(hits.reshape(-1, 2)), hits.shape[:-1])
        return np.array([recipe, site, self.choices[choice]])


def sweep(
    acts: PooledActivations,
    part: Labelled,
    folds: np.ndarray,
    *,
    sites: Sequence[Site],
    readouts: Sequence[str],
    recipes: Sequence[Recipe],
    among: Sequence[str],
    nested: bool = False,
) -> Sweep:
    """Read every text in every way by vectors and statistics of the other folds.

    Parameters
    ----------
    acts, part
        The store and its labelled rows.
    folds
        Fold code of each labelled row, shape (n,).
    sites, readouts, recipes
        What to go through; recipes say how vectors are made.
    among
        The readouts among which a way is chosen.
    nested
        Whether each held-out fold's way is chosen among its training folds (`Sweep.chosen`).

    Raises
    ------
    ConfigError
        If ways are to be chosen and there are fewer than three folds.
    """
    n_folds = int(folds.max()) + 1
    if nested and n_folds < 3:
        raise ConfigError(
            f"choosing among {len(sites)} sites inside each held-out fold needs at least three groups, there are "
            f"{n_folds}; give one site"
        )
    shape = (len(recipes), len(sites), len(readouts), len(part))
    choices = tuple(list(readouts).index(name) for name in among)
    inner = np.zeros((n_folds, len(recipes), len(sites), len(choices), 2)) if nested else None
    found = Sweep(
        tuple(recipes), tuple(sites), tuple(readouts), rank=np.zeros(shape, dtype=np.int64),
        predicted=np.zeros(shape, dtype=np.int64), auroc=np.full(shape, np.nan), choices=choices, inner=inner,
    )  # fmt: skip

    def _one(which: int, at: int) -> None:
        reader = _Reader(acts, part, folds, site=sites[at], recipe=recipes[which])
        _outer(reader, found, (which, at))
        if inner is not None:
            inner[:, which, at] = _inner(reader, n_folds, among)

    with one_thread():
        cells = (delayed(_one)(which, at) for at in range(len(sites)) for which in range(len(recipes)))
        Parallel(n_jobs=_jobs(int(acts.model["d_model"]), n_folds), prefer="threads")(cells)
    return found


def _jobs(d_model: int, n_folds: int) -> int:
    """Threads: as many as there are cores, unless the second moments of all folds would then not fit."""
    return max(1, min(os.cpu_count() or 1, _MEMORY // (8 * d_model**2 * (n_folds + 2))))


def _outer(reader: _Reader, found: Sweep, cell: tuple[int, int]) -> None:
    """Fill in the readings of one recipe at one site."""
    for fold in range(int(reader.folds.max()) + 1):
        test = reader.folds == fold
        for which, scores in enumerate(reader.scores([fold], [test], found.readouts)[0]):
            ranked = rank_texts(scores, reader.y[test])
            where = (*cell, which, test)
            found.rank[where], found.predicted[where], found.auroc[where] = ranked.rank, ranked.predicted, ranked.auroc


def _inner(reader: _Reader, n_folds: int, readouts: Sequence[str]) -> np.ndarray:
    """Texts read rightly (first, in the first five) among the training folds of each held-out fold.

    For the held-out fold a, each other fold b is read by vectors fitted without a and b. The same vectors serve a
    inside b and b inside a, which halves the work. Shape (n_folds, n_readouts, 2).
    """
    hits = np.zeros((n_folds, len(readouts), 2))
    for first in range(n_folds):
        for second in range(first + 1, n_folds):
            tests = [reader.folds == first, reader.folds == second]
            scored = reader.scores([first, second], tests, readouts)
            for outer, test, by_readout in zip((second, first), tests, scored, strict=True):
                for which, scores in enumerate(by_readout):
                    rank = own_ranks(scores, reader.y[test])
                    hits[outer, which] += (rank <= 1).sum(), (rank <= 5).sum()
    return hits


def first_best(hits: np.ndarray) -> int:
    """Row with the highest first column, then the highest second, then the first of all; shape (n_ways, 2)."""
    return int(np.lexsort((-np.arange(len(hits)), hits[:, 1], hits[:, 0]))[-1])


class _Reader:
    """Scores of held-out folds at one site."""

    def __init__(
        self, acts: PooledActivations, part: Labelled, folds: np.ndarray, *, site: Site, recipe: Recipe
    ) -> None:
        self.values = values_at(acts, site, recipe.pool, part.rows)
        self.y, self.folds = part.y, folds
        self.components = recipe.components(acts, site)
        self.vectors = FoldedVectors(
            self.values, part.y, folds, emotions=part.emotions, estimator=recipe.at(acts, site), groups=part.groups
        )

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
