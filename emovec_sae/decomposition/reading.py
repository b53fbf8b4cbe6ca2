"""Read what a latent is: the passages where it is most active, and the tokens that its decoder row raises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.errors import ConfigError, MismatchError
from emovec_sae.provenance import collect, write_json

if TYPE_CHECKING:
    import torch

    from emovec_sae.saes.coder import SparseCoder
    from emovec_sae.store.site_view import SiteActivations

TokenStrings = Callable[[list[int]], list[str]]
"""Turns token ids into one string a token."""


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
class Reading:
    """Passages and firing rates of chosen latents.

    Attributes
    ----------
    latents
        The latents, m of them.
    passages
        By falling peak within a latent; a latent that never fires has none.
    firing_rate
        Share of the read tokens on which each fires, shape (m,).
    n_tokens
        Tokens read.
    provenance
        Who read what.
    """

    latents: tuple[int, ...]
    passages: tuple[Passage, ...]
    firing_rate: np.ndarray
    n_tokens: int
    provenance: dict[str, Any]

    def of(self, latent: int) -> list[Passage]:
        """The passages of one latent, strongest first."""
        return [passage for passage in self.passages if passage.latent == latent]

    def frame(self) -> pd.DataFrame:
        """One row a passage: latent, rank, peak, emotion, group, id, passage (text), firing_rate."""
        rates = dict(zip(self.latents, self.firing_rate.tolist(), strict=True))
        rows = [
            (p.latent, rank, p.peak, p.emotion, p.group, p.id, "".join(p.tokens), rates[p.latent])
            for latent in self.latents
            for rank, p in enumerate(self.of(latent), start=1)
        ]
        columns = ["latent", "rank", "peak", "emotion", "group", "id", "passage", "firing_rate"]
        return pd.DataFrame(rows, columns=columns)

    def save(self, path: str | Path) -> Path:
        """Write passages with their tokens and activations as JSON, atomically."""
        rates = self.firing_rate.tolist()
        return write_json(
            path,
            {
                "latents": [
                    {
                        "latent": latent,
                        "firing_rate": rates[place],
                        "passages": [
                            {
                                "id": p.id,
                                "emotion": p.emotion,
                                "group": p.group,
                                "pieces": [
                                    {"token": token, "activation": value}
                                    for token, value in zip(p.tokens, p.activations, strict=True)
                                ],
                            }
                            for p in self.of(latent)
                        ],
                    }
                    for place, latent in enumerate(self.latents)
                ],
                "n_tokens": self.n_tokens,
                "provenance": self.provenance,
            },
        )


def read_latents(
    coder: SparseCoder,
    acts: SiteActivations,
    latents: Sequence[int],
    *,
    detokenize: TokenStrings,
    passages: int = 8,
    window: int = 20,
) -> Reading:
    """Find where latents are most active, in one streaming pass over the tokens that pool ``mean`` averaged.

    Parameters
    ----------
    coder
        The SAE.
    acts
        A site with tokens.
    latents
        Which latents.
    detokenize
        Token ids to one string a token, such as ``model.token_strings``.
    passages
        Passages a latent, each from another text.
    window
        Tokens kept on either side of the peak.

    Raises
    ------
    ConfigError
        If the SAE has no such latent, or none is asked for.
    MismatchError, StoreError
        If the site is another one, or its tokens were not recorded.
    """
    coder.require(site=acts.site, d_model=int(acts.activations.model["d_model"]), model=acts.activations.model)
    chosen = np.array(sorted(set(map(int, latents))), dtype=np.int64)
    if len(chosen) == 0 or chosen[0] < 0 or chosen[-1] >= coder.d_sae:
        raise ConfigError(f"latents must be some of 0 to {coder.d_sae - 1}, got {chosen.tolist() or 'none'}")
    best, fired, n_tokens = _strongest(coder, acts, chosen, passages=passages, window=window)
    frame = acts.activations.frame
    found = tuple(
        Passage(
            latent=int(chosen[place]),
            id=str(frame["id"].iloc[row]),
            emotion=_label(frame, "emotion", row),
            group=_label(frame, "group", row),
            peak=peak,
            tokens=tuple(detokenize([int(token) for token in tokens])),
            activations=tuple(float(value) for value in values),
        )
        for place, kept in enumerate(best.kept)
        for peak, row, tokens, values in kept
    )
    return Reading(
        latents=tuple(int(latent) for latent in chosen),
        passages=found,
        firing_rate=fired / max(n_tokens, 1),
        n_tokens=n_tokens,
        provenance=collect(sae=coder.fingerprint, activations=acts.activations.fingerprint),
    )


def _strongest(
    coder: SparseCoder, acts: SiteActivations, chosen: np.ndarray, *, passages: int, window: int
) -> tuple[_Best, np.ndarray, int]:
    """The pass itself: strongest passages, tokens on which each latent fires, tokens read."""
    best = _Best(len(chosen), passages)
    fired, n_tokens = np.zeros(len(chosen)), 0
    for chunk in acts.tokens():
        # the tokens that made the vectors: before them stand sinks, whose norm of a hundred others fires anything
        active = _columns(coder, chunk.values, chosen) * chunk.pooled[:, None]
        fired += (active != 0).sum(0)
        n_tokens += int(chunk.pooled.sum())
        edges = np.flatnonzero(np.diff(chunk.text, prepend=-1, append=-1))
        for start, stop in pairwise(edges):
            best.offer(int(chunk.text[start]), active[start:stop], chunk.token_id[start:stop], window)
    return best, fired, n_tokens


def decoder_tokens(
    rows: torch.Tensor | np.ndarray,
    unembedding: torch.Tensor | np.ndarray,
    token_strings: TokenStrings,
    *,
    top: int = 10,
    ids: Sequence[int] | None = None,
) -> pd.DataFrame:
    """Tokens that directions raise and lower most at the output: the logit lens of decoder rows (or of any vectors).

    Parameters
    ----------
    rows
        Directions, shape (m, d).
    unembedding
        Unembedding with the final norm's gain folded in, shape (vocab, d).
    token_strings
        Token ids to one string a token.
    top
        Tokens on either side.
    ids
        What to call the rows; by default 0 to m - 1.

    Returns
    -------
    pd.DataFrame
        latent, side ("up" or "down"), rank, token_id, token, logit (per unit of the row).

    Raises
    ------
    MismatchError
        If the widths differ.

    References
    ----------
    nostalgebraist 2020, interpreting GPT: the logit lens.
    """
    import torch

    rows, unembedding = torch.as_tensor(rows).float(), torch.as_tensor(unembedding)
    if rows.shape[1] != unembedding.shape[1]:
        raise MismatchError(
            f"directions are {rows.shape[1]} wide, the unembedding {unembedding.shape[1]}: another model"
        )
    names = list(range(len(rows))) if ids is None else [int(name) for name in ids]
    # A row at a time keeps one row of logits; the vocabulary may hold a quarter of a million tokens.
    table: list[_Token] = []
    for name, row in zip(names, rows.to(unembedding.device, unembedding.dtype), strict=True):
        table += _ends(name, (unembedding @ row).float(), token_strings, top)
    return pd.DataFrame(table, columns=["latent", "side", "rank", "token_id", "token", "logit"])


_Token = tuple[int, str, int, int, str, float]


def _ends(name: int, logits: torch.Tensor, token_strings: TokenStrings, top: int) -> list[_Token]:
    """The tokens at both ends of one row of logits."""
    table: list[_Token] = []
    for side, sign in (("up", 1), ("down", -1)):
        best = (sign * logits).topk(min(top, len(logits)))
        tokens = [int(token) for token in best.indices]
        listed = zip(tokens, token_strings(tokens), best.values.tolist(), strict=True)
        table += [
            (name, side, rank, token, string, sign * value) for rank, (token, string, value) in enumerate(listed, 1)
        ]
    return table


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


def _columns(coder: SparseCoder, values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Activations of chosen latents, shape (t, m), without holding all latents of all tokens."""
    step = coder.rows_at_once()
    parts = [coder.encode(values[at : at + step])[:, chosen].cpu().numpy() for at in range(0, len(values), step)]
    return np.concatenate(parts)


def _label(frame: pd.DataFrame, column: str, row: int) -> str | None:
    value = frame[column].iloc[row] if column in frame else None
    return None if value is None or pd.isna(value) else str(value)
