"""One streaming pass over the tokens: means of latents, residuals and errors by emotion and group."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from emovec_sae.decomposition.text_means import TextMeans, TextMeansWriter
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
    tokens
        Pooled tokens of each emotion, shape (E,).
    fired_tokens, fired_texts
        Pooled tokens, and texts, of each emotion in which each latent fired, shape (E, d_sae), int32.
    texts
        The means of every text, sparse.
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
    tokens: np.ndarray
    fired_tokens: np.ndarray
    fired_texts: np.ndarray
    texts: TextMeans

    @property
    def firing_rate(self) -> np.ndarray:
        """Share of the pooled tokens on which each latent fires, shape (d_sae,)."""
        return self.fired / self.n_tokens

    @property
    def within_spread(self) -> np.ndarray:
        """Pooled standard deviation of per-text means within emotions, shape (d_sae,); NaN where it is zero."""
        n = self.n_texts.sum(1).astype(float)
        means = self.emotion_means(self.latents)
        free = max(n.sum() - len(n), 1.0)
        variance = np.clip(self.squares - (n[:, None] * np.square(means)).sum(0), 0, None) / free
        return np.sqrt(np.where(variance > 1e-12 * np.maximum(self.squares, 1e-300), variance, np.nan))

    def balanced(self, *, budget: int = CELL_BUDGET) -> Cells:
        """Cells of one made-up text each, their own mean: each group then weighs the same in an emotion's mean.

        Counts of tokens and of texts in which latents fired stay what they are; `squares` and `within_spread` are of
        the texts, not of these means, and must be taken from the cells that were measured.
        """
        if (self.n_texts <= 1).all():
            return self
        count = np.maximum(self.n_texts.reshape(-1), 1)
        latents = _table(len(self.latents), self.latents.shape[1], budget)
        for cell in np.flatnonzero(count > 1):
            latents[cell] = self.latents[cell] / count[cell]
        for cell in np.flatnonzero(count == 1):
            latents[cell] = self.latents[cell]
        residual, error = (table / count[:, None] for table in (self.residual, self.error))
        return replace(
            self, n_texts=(self.n_texts > 0).astype(np.int64), latents=latents, residual=residual, error=error
        )

    def only(self, kept: np.ndarray, *, budget: int = CELL_BUDGET) -> Cells:
        """Cells of some latents, numbers `kept`; the texts' sparse means keep all."""
        latents = _table(len(self.latents), len(kept), budget)
        for cell in range(len(latents)):
            latents[cell] = self.latents[cell, kept]
        return replace(
            self, latents=latents, fired=self.fired[kept], squares=self.squares[kept],
            fired_tokens=self.fired_tokens[:, kept], fired_texts=self.fired_texts[:, kept],
        )  # fmt: skip

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
    made = _Sums(coder, len(emotions), len(groups), budget)
    for chunk in acts.tokens():
        kept = chunk.pooled & (emotion[chunk.text] >= 0)
        if not kept.any():
            continue
        texts, local = np.unique(chunk.text[kept], return_inverse=True)
        made.add(chunk.values[kept], local, emotion[texts], group[texts])
    missing = int((emotion >= 0).sum() - made.n_texts.sum())
    if missing:
        raise StoreError(
            f"{missing} texts have no pooled token at {acts.site}: they are too short for the pooling offset"
        )
    return Cells(
        tuple(emotions), tuple(groups), made.n_texts.reshape(len(emotions), len(groups)), made.latents, made.residual,
        made.error, made.fired_tokens.sum(0, dtype=np.float64), made.squares, int(made.tokens.sum()), made.tokens,
        made.fired_tokens, made.fired_texts, made.texts.finish(),
    )  # fmt: skip


class _Sums:
    """What one pass adds up."""

    def __init__(self, coder: SparseCoder, n_emotions: int, n_groups: int, budget: int) -> None:
        n_cells, d, d_sae = n_emotions * n_groups, coder.d_in, coder.d_sae
        self._coder, self._n_groups = coder, n_groups
        self.n_texts = np.zeros(n_cells, dtype=np.int64)
        self.latents = _table(n_cells, d_sae, budget)
        self.residual, self.error = np.zeros((n_cells, d)), np.zeros((n_cells, d))
        self.squares, self.tokens = np.zeros(d_sae), np.zeros(n_emotions, dtype=np.int64)
        self.fired_tokens, self.fired_texts = (np.zeros((n_emotions, d_sae), dtype=np.int32) for _ in range(2))
        self.texts = TextMeansWriter()

    def add(self, values: np.ndarray, local: np.ndarray, emotion: np.ndarray, group: np.ndarray) -> None:
        """Add the pooled tokens of whole texts; `local` numbers their texts, whose codes follow."""
        latents, residual, error, fired = _text_means(self._coder, values, local, len(emotion))
        count = np.bincount(local, minlength=len(emotion))
        for row, (e, g) in enumerate(zip(emotion, group, strict=True)):
            cell = e * self._n_groups + g
            self.n_texts[cell] += 1
            self.latents[cell] += latents[row]
            self.residual[cell] += residual[row]
            self.error[cell] += error[row]
            self.tokens[e] += count[row]
            self.fired_tokens[e] += fired[row]
            self.fired_texts[e] += fired[row] > 0
        self.squares += np.square(latents, dtype=np.float64).sum(0)
        self.texts.add(latents, emotion)


def _text_means(
    coder: SparseCoder, values: np.ndarray, local: np.ndarray, n_texts: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """By text: means of latents (float32), residuals and errors (float64); tokens on which latents fire (int32)."""
    import torch

    text = torch.from_numpy(local).to(coder.device)
    count = torch.bincount(text, minlength=n_texts)[:, None]
    latents = torch.zeros(n_texts, coder.d_sae, device=coder.device)
    fired = torch.zeros(n_texts, coder.d_sae, dtype=torch.int32, device=coder.device)
    error = torch.zeros(n_texts, coder.d_in, dtype=torch.float64, device=coder.device)
    residual = torch.zeros_like(error).index_add_(0, text, torch.from_numpy(values).to(error))
    step = coder.rows_at_once()
    for start in range(0, len(values), step):
        rows = slice(start, start + step)
        found, left = coder.split(values[rows])
        latents.index_add_(0, text[rows], found)
        fired.index_add_(0, text[rows], (found != 0).int())
        error.index_add_(0, text[rows], left.double())
    means = [(table / count).cpu().numpy() for table in (latents, residual, error)]
    return means[0], means[1], means[2], fired.cpu().numpy()


def _table(rows: int, columns: int, budget: int) -> np.ndarray:
    """Zeros of shape (rows, columns), float32, in memory or in an unnamed file that goes with its last user."""
    if 4 * rows * columns <= budget:
        return np.zeros((rows, columns), dtype=np.float32)
    with tempfile.TemporaryFile(prefix="emovec-cells-") as handle:
        return np.memmap(handle, dtype=np.float32, mode="w+", shape=(rows, columns))
