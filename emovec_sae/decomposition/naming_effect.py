"""What adding a latent does to the next token: on an emotion's own words, and on everything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from emovec_sae.errors import ModelError
from emovec_sae.models.seam import Prefix, forward, run_prefix
from emovec_sae.models.tokens import pad
from emovec_sae.sites import Site

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from emovec_sae.decomposition.naming_words import WordTokens
    from emovec_sae.models.model import Model

_ROWS = 96
"""Prompts times latents of a batch."""
READINGS = ("kl", "rest", "own", "held_out", "valence")
"""What is read of a pair of distributions; see `Effects`."""


@dataclass(frozen=True, eq=False)
class Effects:
    """Effects of L shifts of the residual on the next token after P prompts, for n emotions.

    Attributes
    ----------
    kl
        KL(shifted || base) in nats, shape (L, 1, P): the same for every emotion.
    rest
        The part of it that is left when the emotion's own words are masked and both distributions renormalised:
        ``(1 - m) KL(shifted | not own || base | not own)``, m the shifted mass of the own words. By the chain rule of
        the divergence it lies between 0 and `kl`, and the difference is what happens to and within the own words.
        Shape (L, n, P), as the others.
    own
        Change in the log-odds of the own words.
    held_out
        Change in the log-odds of the held-out words against those of other emotions; masking leaves it as it is.
    valence
        Change in the log-odds of other emotions' words of the same side of valence against those of the other side.
    """

    kl: np.ndarray
    rest: np.ndarray
    own: np.ndarray
    held_out: np.ndarray
    valence: np.ndarray


@dataclass(frozen=True, eq=False)
class _Add:
    """An edit that adds to every row of a batch a vector of its own, at all tokens."""

    site: Site
    vectors: Tensor
    positions: str = "all"

    def __call__(self, hidden: Tensor, mask: Tensor) -> Tensor:
        import torch

        return torch.where(mask[..., None], hidden + self.vectors.to(hidden)[:, None], hidden)


class Stage:
    """Prompts that were run up to a site, so that many latents can be tried on them.

    Parameters
    ----------
    model
        The model.
    prompts
        Texts after which a token is due.
    site
        Where latents are added.
    """

    def __init__(self, model: Model, prompts: Sequence[str], site: Site) -> None:
        self.model, self.site = model, site
        encoded = model.tokens.encode(list(prompts))
        batch = pad(encoded, pad_id=model.tokens.pad_id, device=model.device)
        self._prefix = run_prefix(model, batch, site)
        self._last = batch.mask.sum(1) - 1
        hidden = forward(model, batch, read=[site], prefix=self._prefix).values[site]
        norms = hidden.float().norm(dim=-1).cpu().numpy()
        counted = [np.flatnonzero(model.tokens.counted(ids)) for ids in encoded]
        self.residual_norm = float(np.concatenate([norms[row, at] for row, at in enumerate(counted)]).mean())
        self._base = self._log_probs(self._prefix, self._last)

    def __len__(self) -> int:
        return len(self._last)

    def effects(self, shifts: torch.Tensor, words: Sequence[WordTokens]) -> Effects:
        """Effects of adding each shift, shape (L, d_model), at every token."""
        import torch

        found: list[dict[str, np.ndarray]] = []
        for part in shifts.split(max(1, _ROWS // len(self))):
            rows = torch.arange(len(self)).repeat(len(part))
            added = _Add(self.site, part.repeat_interleave(len(self), dim=0))
            shifted = self._log_probs(self._prefix.rows(rows), self._last.repeat(len(part)), added)
            found.append(_read(shifted.unflatten(0, (len(part), len(self))), self._base, words))
        return Effects(**{name: np.concatenate([one[name] for one in found]) for name in READINGS})

    def _log_probs(self, prefix: Prefix, last: Tensor, added: _Add | None = None) -> Tensor:
        import torch

        edits = [] if added is None else [added]
        final = forward(self.model, prefix.batch, edits=edits, prefix=prefix, final=True).final
        if final is None:
            raise ModelError("the model gave no final state")
        with torch.no_grad():
            return self.model.head(final[torch.arange(len(last), device=last.device), last]).log_softmax(-1)


def _read(shifted: Tensor, base: Tensor, words: Sequence[WordTokens]) -> dict[str, np.ndarray]:
    """Readings of log-probabilities (L, P, vocabulary) against (P, vocabulary)."""
    import torch

    part = shifted.exp() * (shifted - base)
    kl = part.sum(-1)
    rest: list[Tensor] = []
    own: list[Tensor] = []
    held: list[Tensor] = []
    valence: list[Tensor] = []
    for one in words:
        masked = list(one.masked)
        ours, theirs = shifted[..., masked].logsumexp(-1), base[:, masked].logsumexp(-1)
        left, left_base = torch.log1p(-ours.exp()), torch.log1p(-theirs.exp())
        kept = kl - part[..., masked].sum(-1) - left.exp() * (left - left_base)
        rest.append(torch.minimum(kept.clamp_min(0), kl))
        own.append((ours - left) - (theirs - left_base))
        held.append(_odds(shifted, base, one.held_out, one.held_out_others))
        valence.append(_odds(shifted, base, one.congruent, one.incongruent))
    by_emotion = zip(READINGS[1:], (rest, own, held, valence), strict=True)
    tables = {"kl": kl[:, None], **{name: torch.stack(rows, 1) for name, rows in by_emotion}}
    return {name: table.double().cpu().numpy() for name, table in tables.items()}


def _odds(shifted: Tensor, base: Tensor, one: Sequence[int], other: Sequence[int]) -> Tensor:
    """Change in the log-odds of some tokens against others, shape (L, P); NaN where there are none."""
    import torch

    if not one or not other:
        return torch.full(shifted.shape[:-1], torch.nan, device=shifted.device)
    after, before = (
        table[..., list(one)].logsumexp(-1) - table[..., list(other)].logsumexp(-1) for table in (shifted, base)
    )
    return after - before
