"""Selectors that try every candidate once: amplify it on neutral text and look at the next token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from emovec_sae.errors import ConfigError, ModelError
from emovec_sae.interventions.comparison.selectors.selection import Selection, Sources, ordered
from emovec_sae.models.seam import Prefix, forward, run_prefix
from emovec_sae.models.tokens import pad
from emovec_sae.sites import Site

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from emovec_sae.models.model import Model

_ROWS = 96
"""Prompts times latents of a forward pass."""
_VOCABULARY = 10
"""Tokens that the logit lens of a decoder row raises most: the latent's own vocabulary."""


def by_output_score(sources: Sources) -> Selection:
    """By how much the latent's own logit-lens vocabulary gains when the latent is amplified.

    The score is the change of the log-probability of its ten tokens together, in nats, mean over the prompts. Amounts
    are the latents' Delta.

    References
    ----------
    Arad, Mueller and Belinkov 2025 (arXiv 2505.20063), whose output score, likewise from one amplification and the
    logit lens, weighs ranks; the log-probability does not need a rank.
    """
    return _by("output score", "output", sources)


def by_confidence(sources: Sources) -> Selection:
    """By how much amplifying the latent changes the model's confidence, whichever way.

    The score is the absolute change of the log-probability of the likeliest next token, mean over the prompts. Amounts
    are the latents' Delta.

    References
    ----------
    arXiv 2510.03659, on choosing latents to steer with by the change of next-token confidence.
    """
    return _by("confidence", "confidence", sources)


def _by(selector: str, column: str, sources: Sources) -> Selection:
    if sources.model is None or not sources.prompts:
        raise ConfigError(f"the selector '{selector}' runs the model on neutral texts; give a model and prompts")
    pools = {emotion: sources.candidates(emotion) for emotion in sources.contrast.emotions}
    latents = np.unique(np.concatenate([own["latent"].to_numpy() for own in pools.values()]))
    untried = [latent for latent in latents.tolist() if latent not in sources.amplified]
    if untried:
        rows = sources.coder.directions[untried]
        found = amplify(sources.model, rows, sources.prompts, site=sources.coder.site, strength=sources.strength)
        both = zip(found["output"].tolist(), found["confidence"].tolist(), strict=True)
        sources.amplified.update(zip(untried, both, strict=True))
    place = ("output", "confidence").index(column)
    score = {latent: sources.amplified[latent][place] for latent in latents.tolist()}
    scores: dict[str, pd.DataFrame] = {}
    for emotion, own in pools.items():
        table = {"latent": own["latent"], "amount": own["coefficient"], "score": own["latent"].map(score)}
        scores[emotion] = pd.DataFrame(table)
    return ordered(selector, sources, scores)


def amplify(model: Model, rows: Tensor, prompts: Sequence[str], *, site: Site, strength: float) -> pd.DataFrame:
    """Add each row once at every token of each prompt and read the next token.

    Parameters
    ----------
    model
        The model.
    rows
        Unit decoder rows, shape (m, d_model).
    prompts
        Neutral texts after which a token is due.
    site
        Where the rows are added.
    strength
        Multiple of the mean residual norm of these prompts.

    Returns
    -------
    pandas.DataFrame
        output (change of the log-probability of the row's own vocabulary, nats), confidence (absolute change of the
        log-probability of the likeliest token); a row each, means over the prompts.
    """
    import torch

    ids = model.tokens.encode(list(prompts))
    batch = pad(ids, pad_id=model.tokens.pad_id, device=model.device)
    prefix, last = run_prefix(model, batch, site), batch.mask.sum(1) - 1
    hidden = forward(model, batch, read=[site], prefix=prefix).values[site].float()
    counted = torch.tensor(
        [[*map(bool, model.tokens.counted(one))] + [False] * (hidden.shape[1] - len(one)) for one in ids]
    )
    norm = hidden[counted.to(hidden.device)].norm(dim=-1).mean()
    base = _log_probs(model, prefix, last, [])
    own = _vocabulary(rows, model.unembedding()).to(base.device)
    output: list[Tensor] = []
    confidence: list[Tensor] = []
    size = max(1, _ROWS // len(ids))
    for part, tokens in zip(rows.split(size), own.split(size), strict=True):
        index = torch.arange(len(ids)).repeat(len(part))
        added = _AddRows(site, (strength * norm * part.to(norm.device)).repeat_interleave(len(ids), dim=0))
        table = _log_probs(model, prefix.rows(index), last.repeat(len(part)), [added])
        table = table.unflatten(0, (len(part), len(ids)))
        places = tokens[:, None].expand(-1, len(ids), -1)
        before = base.expand(len(part), -1, -1).gather(-1, places).logsumexp(-1)
        output.append((table.gather(-1, places).logsumexp(-1) - before).mean(-1))
        confidence.append((table.amax(-1) - base.amax(-1)).abs().mean(-1))
    numbers = {"output": torch.cat(output), "confidence": torch.cat(confidence)}
    return pd.DataFrame({name: one.double().cpu().numpy() for name, one in numbers.items()})


@dataclass(frozen=True, eq=False)
class _AddRows:
    """An edit that adds to every row of a batch a vector of its own, at all tokens."""

    site: Site
    vectors: Tensor
    positions: str = "all"

    def __call__(self, hidden: Tensor, mask: Tensor) -> Tensor:
        import torch

        return torch.where(mask[..., None], hidden + self.vectors.to(hidden)[:, None], hidden)


def _log_probs(model: Model, prefix: Prefix, last: Tensor, edits: Sequence[_AddRows]) -> Tensor:
    import torch

    final = forward(model, prefix.batch, edits=edits, prefix=prefix, final=True).final
    if final is None:
        raise ModelError("the model gave no final state")
    with torch.no_grad():
        return model.head(final[torch.arange(len(last), device=last.device), last]).log_softmax(-1)


def _vocabulary(rows: torch.Tensor, unembedding: torch.Tensor) -> Tensor:
    """Tokens that each row raises most, shape (m, 10); a block of rows at a time."""
    import torch

    blocks = [(part.to(unembedding) @ unembedding.T).topk(_VOCABULARY).indices for part in rows.split(64)]
    return torch.cat(blocks)
