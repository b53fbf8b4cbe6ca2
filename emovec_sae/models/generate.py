"""Generate text under edits: the same seam as scoring, at the prompt and at every new token."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from emovec_sae.errors import ConfigError
from emovec_sae.models.model import Model
from emovec_sae.models.seam import Edit, apply_edits, read_value, write_value
from emovec_sae.models.tokens import pad

if TYPE_CHECKING:
    from torch import Tensor


def generate(
    model: Model,
    prompts: str | Sequence[str],
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
        One text or several; several share a batch.
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
    texts = [prompts] if isinstance(prompts, str) else list(prompts)
    use_chat = model.tokens.chat if chat is None else chat
    ids = [model.tokens.chat_prompt(text) for text in texts] if use_chat else model.tokens.encode(texts)
    found = generate_ids(
        model, ids, edits=edits, max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, seed=seed
    )
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
) -> Tensor:
    """Continue token sequences; see `generate`.

    Returns
    -------
    torch.Tensor
        New token ids, shape (prompts, new tokens); rows that ended early are padded.
    """
    import torch

    if max_new_tokens < 1:
        raise ConfigError(f"max_new_tokens is {max_new_tokens}; at least 1 token must be generated")
    batch = pad(prompts, pad_id=model.tokens.pad_id, device=model.device, side="left")
    options: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "do_sample": temperature > 0,
        "pad_token_id": model.tokens.pad_id,
        **({"temperature": temperature, "top_p": top_p} if temperature > 0 else {}),
    }
    with torch.no_grad(), torch.random.fork_rng(enabled=temperature > 0), _no_loop_warning():
        if temperature > 0:
            torch.manual_seed(seed)
        if edits:
            result = _generate_edited(model, batch.inputs(), batch.mask, edits, options)
        else:
            result = model.module.generate(**batch.inputs(), **options)  # pyright: ignore[reportCallIssue]
    return result[:, batch.input_ids.shape[1] :]


def _generate_edited(
    model: Model, inputs: dict[str, Tensor], mask: Tensor, edits: Sequence[Edit], options: dict[str, Any]
) -> Any:
    import nnsight
    import torch

    by_site = {site: [edit for edit in edits if edit.site == site] for site in sorted({edit.site for edit in edits})}
    with model.net.generate(**options) as tracer:
        with tracer.invoke(inputs):
            # without this loop an edit would touch the prompt only, and nothing would say so
            for step, _ in enumerate(tracer.iter[:]):
                now = mask if step == 0 else torch.ones_like(mask[:, :1])
                for site, own in by_site.items():
                    write_value(model, site, apply_edits(read_value(model, site), own, now, step=step))
        with tracer.invoke():
            result = nnsight.save(tracer.result)
    return result


@contextmanager
def _no_loop_warning() -> Generator[None]:
    """An open loop over steps ends by design; nnsight warns of it each time."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*was never reached.*", category=UserWarning)
        yield
