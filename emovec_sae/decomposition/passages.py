"""One pass over the pooled tokens for chosen latents: strongest passages, firing, means of texts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from emovec_sae.saes.coder import SparseCoder
    from emovec_sae.store.site_view import SiteActivations


@dataclass(frozen=True)
class Passage:
    """A stretch of a text around the token where a latent is most active.

    Attributes
    ----------
    latent
        Which latent.
    id, emotion, group
        The text, its label and its group.
    peak
        The largest activation (coefficient on the unit decoder row).
    tokens
        The tokens of the stretch, as strings.
    activations
        The latent's activation on each.
    """

    latent: int
    id: str
    emotion: str | None
    group: str | None
    peak: float
    tokens: tuple[str, ...]
    activations: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Pass:
    """What the pass found for m latents.

    Attributes
    ----------
    strongest
        By latent, by falling peak: peak, row of the text, token ids and activations of the stretch.
    fired
        Pooled tokens on which each fires, shape (m,).
    n_tokens
        Pooled tokens.
    means
        Mean over each text's pooled tokens, shape (texts, m); NaN where a text has none.
    """

    strongest: list[list[tuple[float, int, np.ndarray, np.ndarray]]]
    fired: np.ndarray
    n_tokens: int
    means: np.ndarray


def one_pass(coder: SparseCoder, acts: SiteActivations, chosen: np.ndarray, *, passages: int, window: int) -> Pass:
    """Read every pooled token once.

    Parameters
    ----------
    coder, acts
        The SAE, and a site with tokens.
    chosen
        Latents, shape (m,).
    passages, window
        Passages a latent, and tokens kept on either side of a peak.
    """
    best = _Best(len(chosen), passages)
    fired, count = np.zeros(len(chosen)), np.zeros(len(acts.activations.frame))
    sums = np.zeros((len(count), len(chosen)))
    for chunk in acts.tokens():
        # the tokens that made the vectors: before them stand sinks, whose norm of a hundred others fires anything
        active = columns(coder, chunk.values, chosen) * chunk.pooled[:, None]
        fired += (active != 0).sum(0)
        np.add.at(sums, chunk.text, active)
        np.add.at(count, chunk.text, chunk.pooled)
        edges = np.flatnonzero(np.diff(chunk.text, prepend=-1, append=-1))
        for start, stop in pairwise(edges):
            best.offer(int(chunk.text[start]), active[start:stop], chunk.token_id[start:stop], window)
    means = sums / np.where(count > 0, count, np.nan)[:, None]
    return Pass(best.kept, fired, int(count.sum()), means)


def columns(coder: SparseCoder, values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Activations of chosen latents, shape (t, m), without holding all latents of all tokens."""
    step = coder.rows_at_once()
    parts = [coder.encode(values[at : at + step])[:, chosen].cpu().numpy() for at in range(0, len(values), step)]
    return np.concatenate(parts)


class _Best:
    """The strongest passages of each latent so far."""

    def __init__(self, n_latents: int, size: int) -> None:
        self.size = size
        self.kept: list[list[tuple[float, int, np.ndarray, np.ndarray]]] = [[] for _ in range(n_latents)]
        self.bar = np.zeros(n_latents)

    def offer(self, row: int, active: np.ndarray, tokens: np.ndarray, window: int) -> None:
        """Take in a text: activations (t, n_latents) of its tokens."""
        peaks = active.max(0)
        for place in np.flatnonzero(peaks > self.bar):
            at = int(active[:, place].argmax())
            part = slice(max(0, at - window), at + window + 1)
            kept = self.kept[place]
            kept.append((float(peaks[place]), row, tokens[part].copy(), active[part, place].copy()))
            kept.sort(key=lambda one: (-one[0], one[1]))
            del kept[self.size :]
            if len(kept) == self.size:
                self.bar[place] = kept[-1][0]
