"""Generate token by token, under edits, with the tokens of `generate`; between two tokens the model is as it was."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emovec_sae.models.hooks import edited
from emovec_sae.models.model import Model
from emovec_sae.models.prompts import open_batch, read_prompts
from emovec_sae.models.seam import Edit
from emovec_sae.models.tokens import Batch

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor


def stream(
    model: Model,
    prompts: str | Sequence[str | Sequence[Mapping[str, str]]],
    *,
    edits: Sequence[Edit] = (),
    max_new_tokens: int = 40,
    temperature: float = 0.0,
    top_p: float = 1.0,
    chat: bool | None = None,
    seed: int = 0,
) -> Generator[list[str]]:
    """Continue prompts as `generate` does, and give the texts so far after every token.

    The edits are in the model only while a token is computed: other work, other streams among it, may go on between two
    tokens. Draws of temperatures above 0 come from a generator of the stream's own.

    Parameters
    ----------
    model, prompts, edits, max_new_tokens, temperature, top_p, chat, seed
        As in `generate`.

    Yields
    ------
    list of str
        The new text of each prompt so far, without special tokens; the last is what `generate` returns.

    Raises
    ------
    ConfigError, CorpusError, ModelError
        As `generate`, when the first token is asked for.
    """
    ids, named = read_prompts(model, prompts, edits, chat=chat)
    options: dict[str, Any] = {"temperature": temperature, "top_p": top_p, "seed": seed, "named": named}
    found: list[list[int]] = [[] for _ in ids]
    for tokens in stream_ids(model, ids, edits=edits, max_new_tokens=max_new_tokens, **options):
        for row, token in zip(found, tokens.tolist(), strict=True):
            row.append(token)
        yield [model.tokens.decode(row) for row in found]


def stream_ids(
    model: Model,
    prompts: Sequence[Sequence[int]],
    *,
    edits: Sequence[Edit] = (),
    max_new_tokens: int = 40,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    named: Mapping[str, Sequence[np.ndarray]] | None = None,
) -> Generator[Tensor]:
    """Continue token sequences; see `stream`.

    Yields
    ------
    torch.Tensor
        The next token of each prompt, shape (prompts,); the padding token where a text has ended.
    """
    import torch

    batch = open_batch(model, prompts, max_new_tokens=max_new_tokens, named=named)
    options = {"temperature": temperature, "top_p": top_p} if temperature > 0 else {}
    plan = _prepare(model, batch, max_new_tokens=max_new_tokens, **options)
    draws = torch.Generator(model.device).manual_seed(seed) if temperature > 0 else None
    ids, mask, fed = batch.input_ids, batch.mask.long(), batch.input_ids
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    going = torch.ones(len(batch), dtype=torch.bool, device=ids.device)
    for step in range(max_new_tokens):
        with torch.no_grad(), edited(model, batch, edits, step=step):
            logits: Tensor = model.module(
                input_ids=fed, attention_mask=mask, position_ids=positions, past_key_values=plan.cache, use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]  # fmt: skip
        chosen = _choose(plan.processor(ids, logits.float()), draws)
        chosen = torch.where(going, chosen, model.tokens.pad_id)
        ids = torch.cat([ids, chosen[:, None]], 1)
        going = going & ~plan.criteria(ids, None)
        yield chosen
        if not going.any():
            return
        fed, positions = chosen[:, None], positions[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)


@dataclass(frozen=True)
class _Plan:
    """What transformers makes of a model's generation settings."""

    processor: Any
    criteria: Any
    cache: Any


def _prepare(model: Model, batch: Batch, **options: Any) -> _Plan:
    """Let transformers prepare a generation (its logits processors, stopping criteria and cache) and stop there."""

    def _capture(
        _module: Any, _ids: Tensor, *, logits_processor: Any, stopping_criteria: Any, past_key_values: Any, **_: Any
    ) -> _Plan:
        return _Plan(logits_processor, stopping_criteria, past_key_values)

    settings = {**options, "do_sample": "temperature" in options, "pad_token_id": model.tokens.pad_id}
    found: Any = model.module.generate(**batch.inputs(), custom_generate=_capture, **settings)  # pyright: ignore[reportCallIssue]
    return found


def _choose(scores: Tensor, draws: torch.Generator | None) -> Tensor:
    """One token a row: the likeliest, or drawn."""
    import torch

    if draws is None:
        return scores.argmax(-1)
    return torch.multinomial(scores.softmax(-1), 1, generator=draws)[:, 0]
