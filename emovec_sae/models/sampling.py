"""Sample many continuations at once: each row's text depends on its own random numbers, not on its neighbours."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from emovec_sae.errors import ConfigError
from emovec_sae.models.hooks import gathered_head
from emovec_sae.models.model import Model
from emovec_sae.models.tokens import Batch, pad

if TYPE_CHECKING:
    from torch import Tensor

_CANDIDATES = 50
"""Likeliest tokens that are drawn from; ordering a whole vocabulary at every step would cost as much as the head."""
_PREFILL = 512
"""Padded tokens of a pass over prompts: small passes stay in the caches of a processor."""
_GONE = 8
"""Finished rows leave the batch once they are one in so many."""


def sample_ids(
    model: Model,
    prompts: Sequence[Sequence[int]],
    *,
    draws: np.ndarray,
    temperature: float = 1.0,
    top_p: float = 1.0,
    banned: Sequence[Sequence[int]] | None = None,
) -> list[list[int]]:
    """Continue token sequences by sampling, without edits.

    Parameters
    ----------
    model
        The model.
    prompts
        Token ids; sequences of similar length waste the least.
    draws
        One number in [0, 1) for each row and step, shape (prompts, steps): the row's place in the cumulative
        distribution at each step. A row with the same numbers gets the same text in any company, rounding aside.
    temperature
        Above 0.
    top_p
        Share of the probability of the 50 likeliest tokens that is drawn from.
    banned
        Tokens that each row must not use.

    Returns
    -------
    list of list of int
        New tokens of each row, up to where the model ended its text or the steps end; the end token is left out.

    Raises
    ------
    ConfigError
        If temperature or top_p are out of range.
    """
    import torch

    _check(temperature, top_p)
    ends = _end_tokens(model)
    numbers = torch.as_tensor(np.ascontiguousarray(draws), dtype=torch.float32, device=model.device)
    with torch.no_grad(), _fast_attention(model), gathered_head(model):
        return _sample(model, prompts, numbers, ends, _Law(temperature, top_p, banned or [()] * len(prompts)))


@dataclass(frozen=True)
class _Law:
    """How tokens are drawn."""

    temperature: float
    top_p: float
    banned: Sequence[Sequence[int]]

    def draw(self, logits: Tensor, numbers: Tensor, rows: Sequence[int]) -> Tensor:
        """One token a row, by inversion of the cumulative distribution of the likeliest tokens."""
        for place, row in enumerate(rows):
            if self.banned[row]:
                logits[place, list(self.banned[row])] = float("-inf")
        values, tokens = logits.float().topk(min(_CANDIDATES, logits.shape[-1]), dim=-1)
        shares = (values / self.temperature).softmax(-1)
        shares = shares * (shares.cumsum(-1) - shares < self.top_p)
        total = shares.cumsum(-1)
        place = (total <= (numbers * total[:, -1])[:, None]).sum(-1).clamp(max=tokens.shape[-1] - 1)
        return tokens.gather(-1, place[:, None])[:, 0]


class DrawnTokens:
    """A logits processor for `generate`: the token that a row's own random number picks, by the law of `sample_ids`.

    Parameters
    ----------
    draws
        As for `sample_ids`, shape (rows, steps).
    temperature, top_p
        As for `sample_ids`.

    Raises
    ------
    ConfigError
        If temperature or top_p are out of range.
    """

    def __init__(self, draws: np.ndarray, *, temperature: float, top_p: float) -> None:
        _check(temperature, top_p)
        self._draws = np.ascontiguousarray(draws, dtype=np.float32)
        self._law = _Law(temperature, top_p, [()] * len(self._draws))
        self._step = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores that leave one token a row possible."""
        import torch

        numbers = torch.as_tensor(self._draws[:, self._step], device=scores.device)
        self._step += 1
        token = self._law.draw(scores, numbers, range(len(scores)))
        return torch.full_like(scores, float("-inf")).scatter(-1, token[:, None], 0.0)


def _check(temperature: float, top_p: float) -> None:
    if temperature <= 0 or not 0 < top_p <= 1:
        raise ConfigError(f"temperature {temperature} must be above 0, and top_p {top_p} above 0 and at most 1")


def _sample(model: Model, prompts: Sequence[Sequence[int]], draws: Tensor, ends: Tensor, law: _Law) -> list[list[int]]:
    import torch

    batch = pad(prompts, pad_id=model.tokens.pad_id, device=model.device, side="left")
    mask, positions = batch.mask.long(), _positions(batch.mask)
    logits, cache, may_shrink = _read_prompts(model, batch, positions)
    position = positions[:, -1:]
    rows = torch.arange(len(batch), device=model.device)
    done = torch.zeros(len(batch), dtype=torch.bool, device=model.device)
    found: list[list[int]] = [[] for _ in prompts]
    for step in range(draws.shape[1]):
        at = rows.tolist()
        chosen = law.draw(logits, draws[rows, step], at)
        done = done | torch.isin(chosen, ends)
        for row, token, over in zip(at, chosen.tolist(), done.tolist(), strict=True):
            if not over:
                found[row].append(token)
        over = int(done.sum())
        if over == len(rows) or step == draws.shape[1] - 1:
            break
        if may_shrink and over * _GONE >= len(rows):
            keep = (~done).nonzero()[:, 0]
            cache.batch_select_indices(keep)
            rows, chosen, mask, position, done = (one[keep] for one in (rows, chosen, mask, position, done))
        mask, position = torch.cat([mask, mask.new_ones(len(mask), 1)], 1), position + 1
        logits = _step(model, chosen[:, None], mask, position, cache)
    return found


def _read_prompts(model: Model, batch: Batch, positions: Tensor) -> tuple[Tensor, Any, bool]:
    """Logits after the prompts, their cache, and whether rows can be taken out of it."""
    import torch
    from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

    cache = DynamicCache(config=model.module.config)  # pyright: ignore[reportArgumentType]
    plain = all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in cache.layers)
    each = max(1, _PREFILL // batch.input_ids.shape[1]) if plain else len(batch)
    caches, logits = [], []
    for start in range(0, len(batch), each):
        part = slice(start, start + each)
        own = DynamicCache(config=model.module.config)  # pyright: ignore[reportArgumentType]
        logits.append(_step(model, batch.input_ids[part], batch.mask[part].long(), positions[part], own))
        caches.append(own)
    first = caches[0]
    if len(caches) > 1:
        for number, layer in enumerate(first.layers):
            layer.keys = torch.cat([own.layers[number].keys for own in caches])
            layer.values = torch.cat([own.layers[number].values for own in caches])
    return torch.cat(logits), first, plain


def _step(model: Model, ids: Tensor, mask: Tensor, positions: Tensor, cache: Any) -> Tensor:
    """Logits of the last position, shape (batch, vocabulary)."""
    found = model.module(
        input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True,
        logits_to_keep=1,
    )  # fmt: skip
    return found.logits[:, -1]


def _positions(mask: Tensor) -> Tensor:
    """Positions that count real tokens only."""
    return (mask.long().cumsum(1) - 1).clamp(min=0)


def _end_tokens(model: Model) -> Tensor:
    import torch

    given: Any = getattr(model.module, "generation_config", None)
    told = getattr(given, "eos_token_id", None)
    every = [*(told if isinstance(told, list | tuple) else [told]), model.tokens.tokenizer.eos_token_id]
    ends = {int(one) for one in every if one is not None}
    return torch.tensor(sorted(ends), dtype=torch.long, device=model.device)


@contextmanager
def _fast_attention(model: Model) -> Generator[None]:
    """On a processor, plain matrix products beat torch's fused attention at one query a row by half as much again."""
    module: Any = model.module
    before = module.config._attn_implementation
    if model.device.type != "cpu" or before == "eager":
        yield
        return
    module.set_attn_implementation("eager")
    try:
        yield
    finally:
        module.set_attn_implementation(before)
