"""Contrasts recomputed from the cells: groups weighed anew, labels permuted within groups; nothing is encoded again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from emovec_sae.decomposition.parts import DENSE
from emovec_sae.errors import ConfigError, suggest

if TYPE_CHECKING:
    from emovec_sae.decomposition.cells import Cells
    from emovec_sae.saes.coder import SparseCoder


class Resampler:
    """The latents that the contrast selects when groups or labels are drawn anew.

    Parameters
    ----------
    cells
        Sums by emotion and group.
    coder
        The SAE.
    removed
        Orthonormal rows that were projected out of the vectors, shape (m, d).
    dense
        ``keep``, or ``drop`` to leave latents that fire on more than a tenth of the tokens unselected.

    Attributes
    ----------
    allowed
        Latents that may be selected: those that fire, and are not dense if these are dropped.
    directions
        Unit decoder rows, shape (d_sae, d).
    """

    def __init__(self, cells: Cells, coder: SparseCoder, removed: np.ndarray, *, dense: str = "keep") -> None:
        if dense not in ("keep", "drop"):
            raise ConfigError(f"dense is '{dense}'{suggest(dense, ('keep', 'drop'))}; there are keep and drop")
        self.cells, self.removed = cells, np.asarray(removed, dtype=np.float64)
        self.directions = coder.directions.cpu().numpy()
        rates = cells.firing_rate
        self.allowed = np.flatnonzero((rates > 0) & ((rates <= DENSE) | (dense == "keep")))
        self.plain = np.arange(len(cells.emotions) * len(cells.groups)).reshape(cells.n_texts.shape)

    def permuted(self, rng: np.random.Generator) -> np.ndarray:
        """Cells of pseudo-emotions, shape (E, G): in each group the emotions that have texts there change places."""
        rows = self.plain.copy()
        for g in range(len(self.cells.groups)):
            there = np.flatnonzero(self.cells.n_texts[:, g] > 0)
            rows[there, g] = rows[rng.permutation(there), g]
        return rows

    def contrasts(
        self, weights: np.ndarray, rows: np.ndarray | None = None, *, wanted: Sequence[int] | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Differences of means of some emotions under B weightings of the groups.

        Parameters
        ----------
        weights
            How often each group is drawn, shape (B, G).
        rows
            The cell that stands for each emotion in each group, shape (E, G); None means its own.
        wanted
            Which emotions; None means all.

        Yields
        ------
        delta, vectors
            Of latents, (B, d_sae) float32, and of residuals with the removed rows out, (B, d) float64; NaN where an
            emotion has no text in the groups that were drawn.
        """
        rows = self.plain if rows is None else rows
        emotions = range(len(rows)) if wanted is None else wanted
        totals = [np.zeros((len(weights), table.shape[1])) for table in (self.cells.latents, self.cells.residual)]
        valid = np.zeros(len(weights))
        for e in range(len(rows)):
            latents, vector = self._means(weights, rows[e])
            there = np.isfinite(vector[:, 0])
            valid += there
            for total, part in zip(totals, (latents, vector), strict=True):
                total[there] += part[there]
        grand = [total / valid[:, None] for total in totals]
        for e in emotions:
            latents, vector = (own - mean for own, mean in zip(self._means(weights, rows[e]), grand, strict=True))
            yield latents.astype(np.float32), vector - (vector @ self.removed.T) @ self.removed

    def shares(self, delta: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """``Delta_j <d_j, v> / |v|^2`` of the allowed latents, shape (B, len(allowed))."""
        along = vectors.astype(np.float32) @ self.directions[self.allowed].T
        return delta[:, self.allowed] * along / np.square(vectors).sum(1)[:, None]

    def top(self, delta: np.ndarray, vectors: np.ndarray, k: int) -> np.ndarray:
        """The k latents of largest share, in order, shape (B, k); -1 where there is no contrast."""
        shares = self.shares(delta, vectors)
        best = np.argpartition(-shares, k - 1, axis=1)[:, :k]
        order = np.take_along_axis(best, np.argsort(-np.take_along_axis(shares, best, 1), axis=1, kind="stable"), 1)
        return np.where(np.isfinite(vectors[:, :1]), self.allowed[order], -1)

    def check(self, k: int) -> None:
        """Refuse a k that cannot be had.

        Raises
        ------
        ConfigError
            If fewer latents may be selected.
        """
        if not 1 <= k <= len(self.allowed):
            raise ConfigError(f"k must lie between 1 and the {len(self.allowed)} latents that may be selected, got {k}")

    def _means(self, weights: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        cells = self.cells
        count = weights @ cells.n_texts.reshape(-1)[rows].astype(float)
        count[count == 0] = np.nan
        latents, residual = (
            weights @ np.asarray(table[rows], dtype=float) for table in (cells.latents, cells.residual)
        )
        return latents / count[:, None], residual / count[:, None]
