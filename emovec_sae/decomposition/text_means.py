"""Mean latent activations of every text, kept sparse: what tells emotions apart text by text."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, cast

import numpy as np

from emovec_sae.stats.auroc import rank_aurocs

TEXT_BUDGET = 512 * 2**20
"""Bytes of sparse means held in memory; what is more lies in unnamed temporary files that are mapped."""
_DENSE_VALUES = 2**23
"""Numbers of a dense block of columns."""


@dataclass(frozen=True, eq=False)
class TextMeans:
    """Per-text means of latents, n texts in the order in which they were read.

    Attributes
    ----------
    emotion
        Code of each text's emotion, shape (n,).
    start
        Where each text's entries begin, shape (n + 1,).
    latents, values
        Latents that fire in the text, ascending, and their means, shape (start[-1],).
    """

    emotion: np.ndarray
    start: np.ndarray
    latents: np.ndarray
    values: np.ndarray

    def columns(self, latents: Sequence[int] | np.ndarray) -> np.ndarray:
        """Means of some latents, shape (n, len(latents)), float32; zero where a latent does not fire."""
        wanted = np.asarray(latents, dtype=np.int64)
        found = np.zeros((len(self.emotion), len(wanted)), dtype=np.float32)
        order = np.argsort(wanted)
        for text in range(len(self.emotion)):
            here = slice(self.start[text], self.start[text + 1])
            own = np.asarray(self.latents[here])
            places = np.searchsorted(own, wanted[order]).clip(max=max(len(own) - 1, 0))
            hit = own[places] == wanted[order] if len(own) else np.zeros(len(wanted), dtype=bool)
            found[text, order[hit]] = self.values[here][places[hit]]
        return found

    def aurocs(self, latents: Sequence[int] | np.ndarray, n_emotions: int) -> np.ndarray:
        """How well each latent's text mean tells each emotion from the others, shape (n_emotions, len(latents)).

        The area under the ROC curve: how often a text of the emotion has the larger mean of a pair, ties counted half;
        NaN where there are no texts on one side.
        """
        wanted = np.asarray(latents, dtype=np.int64)
        block = max(1, _DENSE_VALUES // max(1, len(self.emotion)))
        parts = [
            rank_aurocs(self.columns(wanted[first : first + block]), self.emotion, n_emotions)
            for first in range(0, len(wanted), block)
        ]
        return np.concatenate(parts, axis=1) if parts else np.zeros((n_emotions, 0))


class TextMeansWriter:
    """Collects sparse means chunk by chunk; see `TextMeans`.

    Parameters
    ----------
    budget
        Bytes that may lie in memory.
    """

    def __init__(self, budget: int = TEXT_BUDGET) -> None:
        self._emotion: list[np.ndarray] = []
        self._counts: list[np.ndarray] = []
        self._latents = _Column(np.dtype(np.int32), budget // 2)
        self._values = _Column(np.dtype(np.float32), budget // 2)

    def add(self, means: np.ndarray, emotion: np.ndarray) -> None:
        """Add texts with their dense means, shape (texts, d_sae), and the codes of their emotions."""
        rows, columns = np.nonzero(means)
        self._counts.append(np.bincount(rows, minlength=len(means)))
        self._emotion.append(emotion)
        self._latents.add(columns)
        self._values.add(means[rows, columns])

    def finish(self) -> TextMeans:
        """What was added."""
        nothing = np.zeros(0, dtype=np.int64)
        counts = np.concatenate([nothing, *self._counts])
        start = np.concatenate([[0], np.cumsum(counts)])
        return TextMeans(np.concatenate([nothing, *self._emotion]), start, self._latents.whole(), self._values.whole())


class _Column:
    """A growing array, in memory up to a budget and in an unnamed file beyond it."""

    def __init__(self, dtype: np.dtype, budget: int) -> None:
        self._dtype, self._budget = dtype, budget
        self._held: list[np.ndarray] = []
        self._bytes = 0
        self._file: IO[bytes] | None = None
        self._count = 0

    def add(self, values: np.ndarray) -> None:
        """Append values."""
        part = values.astype(self._dtype)
        self._held.append(part)
        self._bytes += part.nbytes
        self._count += len(part)
        if self._bytes > self._budget:
            self._spill()

    def _spill(self) -> None:
        if self._file is None:
            self._file = cast("IO[bytes]", tempfile.TemporaryFile(prefix="emovec-texts-"))  # noqa: SIM115  see `whole`
        for part in self._held:
            self._file.write(part.tobytes())
        self._held, self._bytes = [], 0

    def whole(self) -> np.ndarray:
        """All values; a map of the file goes with its last user."""
        if self._file is None:
            return np.concatenate([np.zeros(0, dtype=self._dtype), *self._held])
        self._spill()
        self._file.flush()
        with self._file as handle:
            return np.memmap(handle, dtype=self._dtype, mode="r", shape=(self._count,))
