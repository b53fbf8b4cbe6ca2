"""One streaming pass over the tokens: means of latents, residuals and errors by emotion and group."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from emovec_sae.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emovec_sae.saes.coder import SparseCoder
    from emovec_sae.store.site_view import SiteActivations

CELL_BUDGET = 512 * 2**20
"""Bytes of cell means held in memory; larger tables lie in an unnamed temporary file that is mapped."""


@dataclass(frozen=True, eq=False)
class Cells:
    """Sums over texts of per-text means, by cell (an emotion in a group); C = E x G cells, emotion-major.

    Latents were encoded per token and then averaged over the very tokens that made the text's pooled activation.

    Attributes
    ----------
    emotions, groups
        Names, E and G of them.
    n_texts
        Texts of each cell, shape (E, G).
    latents
        Coefficients on unit decoder rows, shape (C, d_sae), float32.
    residual, error
        Residuals h, and what the SAE leaves of them, shape (C, d), float64.
    fired
        Pooled tokens on which each latent fired, shape (d_sae,).
    squares
        Sum over texts of the squared per-text means of latents, shape (d_sae,), float64.
    n_tokens
        Pooled tokens.
    """

    emotions: tuple[str, ...]
    groups: tuple[str, ...]
    n_texts: np.ndarray
    latents: np.ndarray
    residual: np.ndarray
    error: np.ndarray
    fired: np.ndarray
    squares: np.ndarray
    n_tokens: int

    @property
    def firing_rate(self) -> np.ndarray:
        """Share of the pooled tokens on which each latent fires, shape (d_sae,)."""
        return self.fired / self.n_tokens

    def emotion_means(self, table: np.ndarray) -> np.ndarray:
        """Mean over the texts of each emotion, shape (E, columns), float64, of a table of cell sums."""
        count = len(self.groups)
        sums = np.stack(
            [table[e * count : (e + 1) * count].sum(0, dtype=np.float64) for e in range(len(self.emotions))]
        )
        return sums / self.n_texts.sum(1)[:, None]

    def contrast(self, table: np.ndarray) -> np.ndarray:
        """Mean of each emotion minus the mean over emotions of these means, shape (E, columns), float64."""
        means = self.emotion_means(table)
        return means - means.mean(0)

    def group_means(self, table: np.ndarray) -> np.ndarray:
        """Mean over the emotions of each group of their means there, shape (G, columns), float64."""
        found = np.full((len(self.groups), table.shape[1]), np.nan)
        for g in range(len(self.groups)):
            there = self.n_texts[:, g] > 0
            if there.any():
                own = table[g :: len(self.groups)][there] / self.n_texts[there, g, None]
                found[g] = own.mean(0, dtype=np.float64)
        return found

    def within_groups(
        self, table: np.ndarray, means: np.ndarray, emotion: int, *, columns: np.ndarray | slice = slice(None)
    ) -> np.ndarray:
        """Mean of an emotion in each group minus the group's own, (G, columns); NaN where it has no text.

        Parameters
        ----------
        table, means
            Cell sums, shape (C, columns), and their `group_means`.
        emotion
            Which emotion.
        columns
            Which columns of both.
        """
        count = self.n_texts[emotion].astype(float)
        count[count == 0] = np.nan
        own = table[emotion * len(self.groups) : (emotion + 1) * len(self.groups)]
        return own[:, columns] / count[:, None] - means[:, columns]


def measure_cells(
    coder: SparseCoder,
    acts: SiteActivations,
    *,
    emotion: np.ndarray,
    group: np.ndarray,
    emotions: Sequence[str],
    groups: Sequence[str],
    budget: int = CELL_BUDGET,
) -> Cells:
    """Encode every pooled token once and average by text, then add up by cell.

    Parameters
    ----------
    coder
        The SAE.
    acts
        A site with tokens.
    emotion, group
        Codes of each text into `emotions` and `groups`, shape (n_texts,); -1 leaves a text out.
    emotions, groups
        The names.
    budget
        Bytes of the table of latents that may lie in memory.

    Raises
    ------
    StoreError
        If tokens were not recorded, or a text has no pooled token.
    """
    n_cells, d = len(emotions) * len(groups), coder.d_in
    n_texts = np.zeros(n_cells, dtype=np.int64)
    sums = _table(n_cells, coder.d_sae, budget)
    residual, error = np.zeros((n_cells, d)), np.zeros((n_cells, d))
    fired, squares, n_tokens = np.zeros(coder.d_sae), np.zeros(coder.d_sae), 0
    for chunk in acts.tokens():
        kept = chunk.pooled & (emotion[chunk.text] >= 0)
        if not kept.any():
            continue
        texts, local = np.unique(chunk.text[kept], return_inverse=True)
        means = _text_means(coder, chunk.values[kept], local, len(texts), fired)
        for row, cell in enumerate(emotion[texts] * len(groups) + group[texts]):
            n_texts[cell] += 1
            for total, part in zip((sums, residual, error), means, strict=True):
                total[cell] += part[row]
        squares += np.square(means[0], dtype=np.float64).sum(0)
        n_tokens += int(kept.sum())
    missing = int((emotion >= 0).sum() - n_texts.sum())
    if missing:
        raise StoreError(
            f"{missing} texts have no pooled token at {acts.site}: they are too short for the pooling offset"
        )
    return Cells(
        tuple(emotions), tuple(groups), n_texts.reshape(len(emotions), len(groups)), sums, residual, error,
        fired, squares, n_tokens,
    )  # fmt: skip


def _text_means(
    coder: SparseCoder, values: np.ndarray, local: np.ndarray, n_texts: int, fired: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means by text of latents (float32), residuals and errors (float64); adds to `fired`."""
    import torch

    text = torch.from_numpy(local).to(coder.device)
    count = torch.bincount(text, minlength=n_texts)[:, None]
    latents = torch.zeros(n_texts, coder.d_sae, device=coder.device)
    error = torch.zeros(n_texts, coder.d_in, dtype=torch.float64, device=coder.device)
    residual = torch.zeros_like(error).index_add_(0, text, torch.from_numpy(values).to(error))
    step = coder.rows_at_once()
    for start in range(0, len(values), step):
        rows = slice(start, start + step)
        found, left = coder.split(values[rows])
        latents.index_add_(0, text[rows], found)
        error.index_add_(0, text[rows], left.double())
        fired += (found != 0).sum(0).cpu().numpy()
    return (latents / count).cpu().numpy(), (residual / count).cpu().numpy(), (error / count).cpu().numpy()


def _table(rows: int, columns: int, budget: int) -> np.ndarray:
    """Zeros of shape (rows, columns), float32, in memory or in an unnamed file that goes with its last user."""
    if 4 * rows * columns <= budget:
        return np.zeros((rows, columns), dtype=np.float32)
    with tempfile.TemporaryFile(prefix="emovec-cells-") as handle:
        return np.memmap(handle, dtype=np.float32, mode="w+", shape=(rows, columns))
