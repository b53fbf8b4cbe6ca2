"""Texts to tokens and back: which tokens count, right-padded batches, chat prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from emovec_sae.errors import CorpusError, ModelError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Token sequences padded on one side.

    Attributes
    ----------
    input_ids
        Token ids, shape (batch, sequence).
    mask
        True at real tokens, shape (batch, sequence).
    position_ids, attention
        Own positions and a 4-dimensional additive attention mask (trees of continuations); None means causal.
    """

    input_ids: Tensor
    mask: Tensor
    position_ids: Tensor | None = None
    attention: Tensor | None = None

    def inputs(self) -> dict[str, Tensor]:
        """Keyword inputs of the model's forward."""
        attention = self.mask.long() if self.attention is None else self.attention
        inputs = {"input_ids": self.input_ids, "attention_mask": attention}
        if self.position_ids is not None:
            inputs["position_ids"] = self.position_ids
        return inputs

    def __len__(self) -> int:
        return int(self.input_ids.shape[0])


def pad(sequences: Sequence[Sequence[int]], *, pad_id: int, device: Any = "cpu", side: str = "right") -> Batch:
    """Pad token sequences into a `Batch`.

    Right padding keeps positions as they are and is what recording and scoring use; generation needs the left side.
    """
    import torch

    longest = max(len(sequence) for sequence in sequences)
    ids = torch.full((len(sequences), longest), pad_id, dtype=torch.long)
    mask = torch.zeros((len(sequences), longest), dtype=torch.bool)
    for row, sequence in enumerate(sequences):
        where = slice(0, len(sequence)) if side == "right" else slice(longest - len(sequence), longest)
        ids[row, where] = torch.tensor(list(sequence), dtype=torch.long)
        mask[row, where] = True
    return Batch(ids.to(device), mask.to(device))


class Tokens:
    """A tokenizer with the house rules: which tokens are special, how a chat prompt is built.

    Parameters
    ----------
    tokenizer
        A Hugging Face tokenizer; a pad token is set if it has none (batches are masked, so any does).
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
        pad_id: Any = tokenizer.pad_token_id
        self.pad_id = int(pad_id)
        self._special = np.array(sorted(tokenizer.all_special_ids), dtype=np.int64)

    @property
    def chat(self) -> bool:
        """Whether the tokenizer has a chat template."""
        return bool(self.tokenizer.chat_template)

    def encode(self, texts: Sequence[str], *, special: bool = True) -> list[list[int]]:
        """Token ids of each text, with the tokenizer's own first token if it adds one.

        Raises
        ------
        CorpusError
            If a text has no token at all.
        """
        if not texts:
            return []
        found = self.tokenizer(list(texts), add_special_tokens=special)["input_ids"]
        for row, ids in enumerate(found):
            if not ids:
                raise CorpusError(f"text {row} has no tokens: {texts[row][:40]!r}; leave it out")
        return found

    def chat_prompt(self, text: str) -> list[int]:
        """Token ids of a user message, up to where the assistant's answer begins.

        Raises
        ------
        ModelError
            If the model has no chat template.
        """
        if not self.chat:
            raise ModelError("this model has no chat template; give plain text (format='plain')")
        message = [{"role": "user", "content": text}]
        found = self.tokenizer.apply_chat_template(message, add_generation_prompt=True, tokenize=True, return_dict=True)
        return list(found["input_ids"])

    def counted(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """Which tokens may be pooled, trained on or scored: neither the first nor special ones.

        The first token is an attention sink in most models, whatever it is; its norm is hundreds of times larger.

        Returns
        -------
        numpy.ndarray
            Boolean, shape (sequence,).
        """
        found = ~np.isin(np.asarray(ids), self._special)
        found[:1] = False
        return found

    def strings(self, ids: Sequence[int]) -> list[str]:
        """Readable text of each single token, with its leading space."""
        return [self.tokenizer.decode([int(one)]) for one in ids]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of a token sequence without special tokens."""
        return self.tokenizer.decode([int(one) for one in ids], skip_special_tokens=True)
