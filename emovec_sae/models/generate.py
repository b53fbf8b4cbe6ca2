"""Generate text under edits: the same seam as scoring, at the prompt and at every new token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emovec_sae.models.hooks import edited
from emovec_sae.models.model import Model
from emovec_sae.models.prompts import open_batch, read_prompts
from emovec_sae.models.sampling import DrawnTokens
from emovec_sae.models.seam import Edit

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


def generate(
    model: Model,
    prompts: str | Sequence[str | Sequence[Mapping[str, str]]],
    *,
    edits: Sequence[Edit] = (),
    max_new_tokens: int = 40,
    temperature: float = 0.0,
    top_p: float = 1.0,
    chat: bool | None = None,
    seed: int = 0,
) -> list[str]:
    """Continue prompts, with edits at the prompt and at every generated token.

    Parameters
    ----------
    model
        The model.
    prompts
        One text or several; several share a batch. Among several, with the chat template, a list of
        ``{"role", "content"}`` is a conversation.
    edits
        Edits such as `Steer`; without any, this is the model's own generation.
    max_new_tokens
        Length of the answer in tokens.
    temperature
        0 takes the likeliest token; above, tokens are sampled.
    top_p
        Nucleus of the sampling.
    chat
        Wrap the prompt in the model's chat template; None does so if it has one.
    seed
        Seed of the sampling; the global generator is left as it was.

    Returns
    -------
    list of str
        The new text of each prompt, without special tokens.
    """
    ids, named = read_prompts(model, prompts, edits, chat=chat)
    options: dict[str, Any] = {"temperature": temperature, "top_p": top_p, "seed": seed, "named": named}
    found = generate_ids(model, ids, edits=edits, max_new_tokens=max_new_tokens, **options)
    return [model.tokens.decode(row) for row in found.tolist()]


def generate_ids(
    model: Model,
    prompts: Sequence[Sequence[int]],
    *,
    edits: Sequence[Edit] = (),
    max_new_tokens: int = 40,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    named: Mapping[str, Sequence[np.ndarray]] | None = None,
    draws: np.ndarray | None = None,
) -> Tensor:
    """Continue token sequences; see `generate`.

    Edits at ``span:`` or ``role:`` need `named`, which `positions.locate` gives with the token ids. With `draws`, of
    shape (prompts, max_new_tokens), each row is sampled with its own numbers instead of `seed`, as `sample_ids` does:
    a row gets the same text in any company, rounding aside.

    Returns
    -------
    torch.Tensor
        New token ids, shape (prompts, new tokens); rows that ended early are padded.
    """
    import torch

    batch = open_batch(model, prompts, max_new_tokens=max_new_tokens, named=named)
    free = temperature > 0 and draws is None
    options: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "do_sample": free,
        "pad_token_id": model.tokens.pad_id,
        **({"temperature": temperature, "top_p": top_p} if free else {}),
    }
    if draws is not None:
        options["logits_processor"] = [DrawnTokens(draws, temperature=temperature, top_p=top_p)]
    with torch.no_grad(), torch.random.fork_rng(enabled=free), edited(model, batch, edits):
        if free:
            torch.manual_seed(seed)
        result: Any = model.module.generate(**batch.inputs(), **options)  # pyright: ignore[reportCallIssue]
    return result[:, batch.input_ids.shape[1] :]
