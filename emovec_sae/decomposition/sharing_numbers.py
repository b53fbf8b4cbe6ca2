"""What is generic in a matrix of latents and emotions, and in permuted ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.cluster import hierarchy

from emovec_sae.decomposition.resampled import Resampler

NUMBERS = (
    "generic latents", "generic share", "specific share", "generic span", "mean participation", "most served",
    "clusters",
)  # fmt: skip
"""Numbers of a profile: generic latents; shares of |v|^2 (mean over emotions) held by generic and by specific latents,
and in the span of the generic rows; mean effective number of emotions; emotions served by the most shared latent;
clusters of latents with like profiles."""

_LIKE = 0.5
"""Clusters: average linkage of latents, cut where the cosine of their profiles falls below this."""


@dataclass(frozen=True, eq=False)
class Profile:
    """A matrix of n emotions and m latents with what follows from it.

    Attributes
    ----------
    matrix
        Coefficients over |v|, shape (n, m).
    shares
        Share of |v|^2 that each latent holds, shape (n, m), signed.
    span
        Share of |v|^2 in the span of the generic rows, shape (n,).
    participation
        Effective number of emotions, shape (m,).
    served
        Emotions that have the latent among their first k, shape (m,).
    generic
        Which latents are, shape (m,).
    """

    matrix: np.ndarray
    shares: np.ndarray
    span: np.ndarray
    participation: np.ndarray
    served: np.ndarray
    generic: np.ndarray

    @property
    def held(self) -> np.ndarray:
        """Share of |v|^2 held by generic latents, shape (n,)."""
        return self.shares[:, self.generic].sum(1)

    @property
    def specific(self) -> np.ndarray:
        """Share of |v|^2 held by the other latents of the matrix, shape (n,)."""
        return self.shares[:, ~self.generic].sum(1)

    @cached_property
    def clusters(self) -> np.ndarray:
        """Number of each latent's cluster, from 1, shape (m,)."""
        if len(self.participation) < 2:
            return np.ones(len(self.participation), dtype=np.int64)
        units = self.matrix / np.maximum(np.linalg.norm(self.matrix, axis=0), 1e-30)
        distance = np.clip(1 - units.T @ units, 0, 2)
        tree = hierarchy.linkage(distance[np.triu_indices(len(distance), 1)], "average")
        return hierarchy.fcluster(tree, 1 - _LIKE, "distance").astype(np.int64)

    @property
    def by_emotion(self) -> dict[str, np.ndarray]:
        """Those of `NUMBERS` that are means over emotions."""
        return {"generic share": self.held, "specific share": self.specific, "generic span": self.span}

    @cached_property
    def numbers(self) -> dict[str, float]:
        """`NUMBERS` by name."""
        means = {name: float(values.mean()) for name, values in self.by_emotion.items()}
        return means | {
            "generic latents": float(self.generic.sum()),
            "mean participation": float(self.participation.mean()),
            "most served": float(self.served.max(initial=0)),
            "clusters": float(len(np.unique(self.clusters))),
        }


def profile_of(
    coefficients: np.ndarray, rows: np.ndarray, vectors: np.ndarray, *, generic: float, served: np.ndarray
) -> Profile:
    """Make a `Profile` of coefficients (n, m) on unit rows (m, d), removed rows taken out, and vectors (n, d)."""
    wide = np.asarray(coefficients, dtype=float)
    squared = np.square(vectors, dtype=float).sum(1)
    matrix = wide / np.sqrt(squared)[:, None]
    effective = participation(matrix)
    chosen = effective >= generic * len(matrix)
    shares = wide * (np.asarray(vectors, dtype=float) @ np.asarray(rows, dtype=float).T) / squared[:, None]
    return Profile(matrix, shares, _in_span(vectors, rows[chosen]), effective, served, chosen)


def participation(matrix: np.ndarray) -> np.ndarray:
    """Exp of the entropy of each column's squared values, shape (m,); 0 for a column of zeros."""
    squares = np.square(matrix)
    total = squares.sum(0)
    part = squares / np.where(total > 0, total, 1.0)
    entropy = -(part * np.log(np.where(part > 0, part, 1.0))).sum(0)
    return np.where(total > 0, np.exp(entropy), 0.0)


def shuffled_profiles(
    own: Profile, rows: np.ndarray, vectors: np.ndarray, *, draws: int, seed: int
) -> Iterator[Profile]:
    """Profiles with each latent's coefficients permuted over the emotions; vectors (n, d) and rows (m, d) stay.

    How widely a latent is spread stays with it, so participation and the span of the generic rows do not move; which
    emotion it serves does. Selection is made anew: as many latents an emotion as before, by share.
    """
    rng = np.random.default_rng(seed)
    k = max(1, round(float(own.served.sum()) / len(own.matrix)))
    wide = np.asarray(vectors, dtype=float)
    along = wide @ np.asarray(rows, dtype=float).T / np.linalg.norm(wide, axis=1)[:, None]
    for _ in range(draws):
        moved = rng.permuted(own.matrix, axis=0)
        shares = moved * along
        best = np.argsort(-shares, axis=1, kind="stable")[:, :k]
        yield replace(own, matrix=moved, shares=shares, served=np.bincount(best.ravel(), minlength=moved.shape[1]))


def pseudo_profiles(work: Resampler, n: int, *, k: int, generic: float, draws: int, seed: int) -> Iterator[Profile]:
    """Profiles of n pseudo-emotions from labels permuted within groups, with the k latents that each selects."""
    rng = np.random.default_rng(seed)
    weights = np.ones((1, len(work.cells.groups)))
    for _ in range(draws):
        made = list(work.contrasts(weights, work.permuted(rng), wanted=range(n)))
        top = np.concatenate([work.top(*one, k) for one in made])
        index, places = np.unique(top, return_inverse=True)
        rows = work.directions[index].astype(float)
        yield profile_of(
            np.concatenate([delta[:, index] for delta, _ in made]),
            rows - (rows @ work.removed.T) @ work.removed,
            np.concatenate([vector for _, vector in made]),
            generic=generic,
            served=np.bincount(places.ravel(), minlength=len(index)),
        )


def _in_span(vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Share of |v|^2 in the span of rows, shape (n,)."""
    wide = np.asarray(vectors, dtype=float)
    if not len(rows):
        return np.zeros(len(wide))
    _, sizes, basis = np.linalg.svd(np.asarray(rows, dtype=float), full_matrices=False)
    basis = basis[sizes > 1e-6 * sizes[0]]
    return np.square(wide @ basis.T).sum(1) / np.square(wide).sum(1)
