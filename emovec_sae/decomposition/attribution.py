"""The attribution method: how much each latent, and the SAE's error, add to a score of the emotion.

A latent's attribution to the score m of a prompt is ``sum_t (f_tj - f'_j) <g_t, d_j>`` over the counted tokens t, with
g the gradient of m at the SAE's site; the error's is ``sum_t <e_t - e', g_t>`` with the same gradient, so nothing of
the stream is left out (Marks et al. 2403.19647, section 3). The primes are the baseline: ``zero`` (no latent fires and
the SAE leaves no error: the stream is the SAE's bias) or ``mean`` (mean latents and mean error over the tokens of
`neutral`, or of all prompts). With ``steps=0`` the gradient is taken at the activations themselves, a first-order
estimate; with ``steps=N`` it is averaged over N points of the straight line from the baseline (integrated gradients),
and the attributions of a prompt add up to the difference of its score from the score at the baseline.

Ranks go by falling attribution. Shares are attributions divided by the sum of the absolute attributions of all latents
and the error (their plain sum may be near zero): shares of latents, other latents and error add up to `net` in the
summary, not to 1. Coefficients are those of a vector on the chosen latents' rows by least squares, as for `omp`: they
say how much of the emotion vector the latents that drive the score rebuild.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.decomposition.attribution_flow import Flow, measure_flow, read_tokens
from emovec_sae.decomposition.attribution_ranks import Attributed, One, Ranked, in_space, prompt_interval, rank_one
from emovec_sae.decomposition.attribution_scores import Score, word_odds
from emovec_sae.decomposition.parts import Parts
from emovec_sae.decomposition.targets import sizes
from emovec_sae.errors import ConfigError, suggest

if TYPE_CHECKING:
    import torch

    from emovec_sae.models.model import Model
    from emovec_sae.saes.coder import SparseCoder

BASELINES = ("zero", "mean")
"""What a latent's activation is compared with."""
_VALUES = 2**26
"""Numbers of gradients and attributions held at once: emotions are worked through in blocks."""

Prompts = Sequence[str] | Mapping[str, Sequence[str]]
"""Texts for all emotions, or texts of each."""


@dataclass(frozen=True, eq=False)
class _Baseline:
    """Latents (d_sae,), error (d,) and stream (d,) that every counted token is compared with."""

    latents: torch.Tensor
    error: torch.Tensor
    stream: torch.Tensor


def attribution_parts(
    emotions: Sequence[str],
    vectors: np.ndarray,
    coder: SparseCoder,
    *,
    removed: torch.Tensor,
    k: int,
    nulls: int,
    seed: int,
    n_texts: np.ndarray,
    model: Model,
    prompts: Prompts,
    score: Score | None = None,
    steps: int = 0,
    baseline: str = "zero",
    neutral: Sequence[str] | None = None,
    firing_rate: np.ndarray | None = None,
) -> Parts:
    """Rank latents by their attribution to scores of emotions.

    Parameters
    ----------
    emotions, vectors
        Names, and their vectors, shape (n, d), for coefficients and curves.
    coder
        The SAE.
    removed, k, nulls, seed, n_texts, firing_rate
        As for `emovec_sae.decomposition.pursuit.pursuit_parts`. The null of a share is the same selection with random
        gradients: one isotropic direction for all tokens, each token's norm kept.
    model
        The model that the SAE reads.
    prompts
        Texts for all emotions, or for each emotion its own.
    score
        What is attributed; None means `word_odds` of the emotions.
    steps
        0, or the number of points of integrated gradients.
    baseline
        ``zero`` or ``mean``.
    neutral
        Texts whose tokens make the baseline ``mean``; None means the prompts.

    Raises
    ------
    ConfigError
        If an option makes no sense, or an emotion has no prompts.
    CorpusError
        If a prompt has no token that counts, or too many.
    ModelError
        If no gradient can be taken.
    """
    _check(steps, baseline, neutral)
    own = _prompts(emotions, prompts)
    chosen = word_odds(model, emotions) if score is None else score
    point = _baseline(model, coder, own, baseline, neutral)
    at = sizes(k, min(coder.d_sae, coder.d_in - len(removed)))
    done: dict[int, Ranked] = {}
    for columns, texts in _jobs(model, own, coder):
        flow = measure_flow(
            model, texts, site=coder.site, score=chosen, columns=columns, point=point.stream, steps=steps
        )
        for place, e in enumerate(columns):
            found = _attribute(flow, place, coder, point)
            one = One(emotions[e], vectors[e], int(n_texts[e]), coder, removed, k, at, nulls, seed + e, firing_rate)
            done[e] = rank_one(one, found, exact=steps > 0)
    some = [done[e] for e in range(len(emotions))]
    n_prompts = min(map(len, own))
    settings = {**chosen.describe(), "steps": steps, "baseline": baseline, "prompts": n_prompts}
    targets = in_space(vectors, coder, removed).cpu().numpy()
    return replace(_together(some, targets, settings), interval=prompt_interval(n_prompts), firing_rate=firing_rate)


def _together(some: list[Ranked], targets: np.ndarray, settings: Mapping[str, Any]) -> Parts:
    """The tables of all emotions."""
    frame = pd.concat([one.ranks for one in some], ignore_index=True)
    index = np.unique(frame["latent"].to_numpy())
    coefficients = np.zeros((len(some), len(index)), dtype=np.float32)
    for e, one in enumerate(some):
        coefficients[e, np.searchsorted(index, one.ranks["latent"])] = one.ranks["coefficient"]
    return Parts(
        frame=frame,
        summary=pd.DataFrame([one.summary for one in some]),
        curve=pd.concat([one.curve for one in some], ignore_index=True),
        index=index,
        coefficients=coefficients,
        vectors=targets,
        settings=settings,
    )


def _check(steps: int, baseline: str, neutral: Sequence[str] | None) -> None:
    if steps < 0:
        raise ConfigError(f"steps is {steps}; 0 takes the gradient at the activations, 16 integrate it over 16 points")
    if baseline not in BASELINES:
        raise ConfigError(
            f"unknown baseline '{baseline}'{suggest(baseline, BASELINES)}; there are {', '.join(BASELINES)}"
        )
    if neutral is not None and baseline != "mean":
        raise ConfigError("neutral texts make the baseline 'mean'; leave them out, or ask for baseline='mean'")


def _prompts(emotions: Sequence[str], prompts: Prompts) -> list[tuple[str, ...]]:
    """The texts of each emotion."""
    if isinstance(prompts, Mapping):
        own = [tuple(prompts.get(name, ())) for name in emotions]
    else:
        own = [tuple(prompts)] * len(emotions)
    for name, texts in zip(emotions, own, strict=True):
        if not texts:
            raise ConfigError(f"there are no prompts for '{name}'; attribution needs some texts to run the model on")
    return own


def _jobs(model: Model, own: list[tuple[str, ...]], coder: SparseCoder) -> list[tuple[list[int], tuple[str, ...]]]:
    """Emotions that are worked through together, with their texts: those that share them, as many as memory takes."""
    sharing: dict[tuple[str, ...], list[int]] = {}
    for e, texts in enumerate(own):
        sharing.setdefault(texts, []).append(e)
    jobs: list[tuple[list[int], tuple[str, ...]]] = []
    for texts, members in sharing.items():
        tokens = sum(map(len, model.tokens.encode(list(texts))))
        block = max(1, _VALUES // (tokens * coder.d_in))
        jobs += [(members[first : first + block], texts) for first in range(0, len(members), block)]
    return jobs


def _baseline(
    model: Model, coder: SparseCoder, own: list[tuple[str, ...]], baseline: str, neutral: Sequence[str] | None
) -> _Baseline:
    import torch

    latents = torch.zeros(coder.d_sae, device=coder.device, dtype=torch.float64)
    error = torch.zeros(coder.d_in, device=coder.device, dtype=torch.float64)
    if baseline == "mean":
        texts = list(dict.fromkeys(text for some in own for text in some)) if neutral is None else list(neutral)
        hidden = read_tokens(model, texts, coder.site).hidden
        for part in hidden.split(coder.rows_at_once()):
            found, left = coder.split(part)
            latents += found.sum(0, dtype=torch.float64) / len(hidden)
            error += left.sum(0, dtype=torch.float64) / len(hidden)
    stream = latents @ coder.directions.double() + coder.bias.double() + error
    return _Baseline(latents.float(), error.float(), stream.float())


def _attribute(flow: Flow, place: int, coder: SparseCoder, point: _Baseline) -> Attributed:
    """Attributions of one score by prompt."""
    import torch

    tokens, gradient = flow.tokens, flow.gradient[place].to(coder.device)
    owner = tokens.prompt.to(coder.device)
    latents = torch.zeros(tokens.n_prompts, coder.d_sae, device=coder.device)
    error = torch.zeros(tokens.n_prompts, device=coder.device)
    weight, error_weight = torch.zeros_like(latents[0]), torch.zeros_like(gradient[0])
    step = coder.rows_at_once()
    for first in range(0, len(owner), step):
        rows = slice(first, first + step)
        found, left = coder.split(tokens.hidden[rows])
        found, left = found - point.latents, left - point.error
        latents.index_add_(0, owner[rows], found * (gradient[rows] @ coder.directions.T))
        error.index_add_(0, owner[rows], (left * gradient[rows]).sum(1))
        norms = gradient[rows].norm(dim=1) / tokens.n_prompts
        weight += norms @ found
        error_weight += norms @ left
    reached, start = (scores[:, place].cpu().numpy().astype(float) for scores in (flow.reached, flow.start))
    return Attributed(latents, error, reached, start, weight, error_weight)
