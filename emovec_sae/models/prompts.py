"""Prompts to be continued: their tokens, where edits act in them, and the batch that new tokens extend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from emovec_sae.errors import ConfigError
from emovec_sae.models.positions import locate
from emovec_sae.models.tokens import Batch, pad

if TYPE_CHECKING:
    import numpy as np

    from emovec_sae.models.model import Model
    from emovec_sae.models.seam import Edit


def read_prompts(
    model: Model,
    prompts: str | Sequence[str | Sequence[Mapping[str, str]]],
    edits: Sequence[Edit],
    *,
    chat: bool | None,
) -> tuple[list[list[int]], dict[str, list[np.ndarray]]]:
    """Token ids of one prompt or several, and where the edits act in each; arguments as `generate` takes them.

    Returns
    -------
    ids
        Token ids of each prompt.
    named
        Positions -> bool of each prompt's tokens, for those that need the texts.

    Raises
    ------
    ConfigError, CorpusError, ModelError
        As `emovec_sae.models.positions.locate`.
    """
    texts = [prompts] if isinstance(prompts, str) else list(prompts)
    use_chat = model.tokens.chat if chat is None else chat
    return locate(model.tokens, texts, [edit.positions for edit in edits], chat=use_chat)


def open_batch(
    model: Model,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    named: Mapping[str, Sequence[np.ndarray]] | None,
) -> Batch:
    """Prompts in one batch, padded on the left so that all end where the new tokens begin.

    Raises
    ------
    ConfigError
        If no token is to be generated.
    """
    if max_new_tokens < 1:
        raise ConfigError(f"max_new_tokens is {max_new_tokens}; at least 1 token must be generated")
    return pad(prompts, pad_id=model.tokens.pad_id, device=model.device, side="left", named=named)
