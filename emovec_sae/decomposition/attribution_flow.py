"""What attribution runs the model for: activations at a site, and gradients of emotion scores there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emovec_sae.errors import CorpusError
from emovec_sae.models.gradient import gradients
from emovec_sae.models.seam import forward, run_prefix
from emovec_sae.models.tokens import pad

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from emovec_sae.decomposition.attribution_scores import Score
    from emovec_sae.models.model import Model
    from emovec_sae.models.tokens import Batch
    from emovec_sae.sites import Site

_ROWS = 8
"""Prompts of a batch."""


@dataclass(frozen=True, eq=False)
class Tokens:
    """The counted tokens of prompts (neither the first nor special ones), T of them in P prompts.

    Attributes
    ----------
    hidden
        The stream at the site, shape (T, d), float32.
    prompt
        Number of each token's prompt, shape (T,).
    n_prompts
        P.
    """

    hidden: Tensor
    prompt: Tensor
    n_prompts: int


@dataclass(frozen=True, eq=False)
class Flow:
    """Tokens, and what scores make of them.

    Attributes
    ----------
    tokens
        The tokens, T of them in P prompts.
    gradient
        Gradient of each score: at the tokens, or averaged over the way from the baseline; shape (n, T, d).
    reached, start
        The scores of each prompt, and those with every counted token at the baseline, shape (P, n).
    """

    tokens: Tokens
    gradient: Tensor
    reached: Tensor
    start: Tensor


def read_tokens(model: Model, prompts: Sequence[str], site: Site) -> Tokens:
    """Run prompts up to a site and keep their counted tokens."""
    import torch

    hidden: list[Tensor] = []
    owner: list[Tensor] = []
    for first, batch, counted in _batches(model, prompts):
        values = forward(model, batch, read=[site]).values[site]
        hidden.append(values[counted].float())
        owner.append(first + counted.nonzero()[:, 0])
    return Tokens(torch.cat(hidden), torch.cat(owner), len(prompts))


def measure_flow(
    model: Model,
    prompts: Sequence[str],
    *,
    site: Site,
    score: Score,
    columns: Sequence[int],
    point: torch.Tensor,
    steps: int,
) -> Flow:
    """Differentiate scores at the site.

    Parameters
    ----------
    model
        The model.
    prompts
        Texts.
    site
        Where the gradient is taken.
    score, columns
        The score, and of which of its emotions.
    point
        The baseline of every counted token, shape (d,).
    steps
        0 takes the gradient at the activations; more average it over so many points, evenly spaced in the middles of
        the steps, on the straight line from the baseline.
    """
    import torch

    parts: list[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]] = []
    for first, batch, counted in _batches(model, prompts):
        prefix = run_prefix(model, batch, site)
        hidden = forward(model, batch, read=[site], prefix=prefix).values[site]
        away = torch.where(counted[..., None], hidden.float() - point.to(hidden.device), 0.0)

        def _score(states: Tensor, batch: Batch = batch) -> Tensor:
            return score(model, states, batch, columns)

        def _at(share: float, *, of: Tensor = hidden, away: Tensor = away) -> Tensor:
            return (of.float() - (1 - share) * away).to(of.dtype)

        ends = [gradients(model, prefix, site=site, hidden=_at(s), score=_score, read=score.read) for s in (0.0, 1.0)]
        slope = ends[1].at_site
        if steps:
            slope = torch.zeros_like(slope)
            for step in range(steps):
                here = _at((step + 0.5) / steps)
                found = gradients(model, prefix, site=site, hidden=here, score=_score, read=score.read)
                slope += found.at_site / steps
        owner = first + counted.nonzero()[:, 0]
        parts.append((hidden[counted].float(), owner, slope[:, counted], ends[1].scores, ends[0].scores))
    hidden, owner, slope, reached, start = zip(*parts, strict=True)
    tokens = Tokens(torch.cat(hidden), torch.cat(owner), len(prompts))
    return Flow(tokens, torch.cat(slope, dim=1), torch.cat(reached), torch.cat(start))


def _batches(model: Model, prompts: Sequence[str]) -> list[tuple[int, Batch, Tensor]]:
    """First prompt, tokens, and which of them count, of each batch."""
    import numpy as np
    import torch

    encoded = model.tokens.encode(prompts)
    for ids, text in zip(encoded, prompts, strict=True):
        if len(ids) > model.context:
            raise CorpusError(
                f"a prompt has {len(ids)} tokens, '{model.name}' takes {model.context}; shorten it: {text[:40]!r}"
            )
        if not model.tokens.counted(ids).any():
            raise CorpusError(f"a prompt has no token behind the first that counts: {text[:40]!r}; give a longer one")
    found: list[tuple[int, Batch, Tensor]] = []
    for first in range(0, len(encoded), _ROWS):
        some = encoded[first : first + _ROWS]
        batch = pad(some, pad_id=model.tokens.pad_id, device=model.device)
        counted = np.zeros(tuple(batch.mask.shape), dtype=bool)
        for row, ids in enumerate(some):
            counted[row, : len(ids)] = model.tokens.counted(ids)
        found.append((first, batch, torch.from_numpy(counted).to(model.device)))
    return found
