"""Texts to tokens and back: which tokens count, right-padded batches, chat prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    named
        Tokens of positions that only the texts tell (`Positions.named`): name -> bool, shape (batch, sequence).
    new
        Tokens that stand for generated ones (the futures behind a prompt), bool, shape (batch, sequence); None is none.
    """

    input_ids: Tensor
    mask: Tensor
    position_ids: Tensor | None = None
    attention: Tensor | None = None
    named: Mapping[str, Tensor] | None = None
    new: Tensor | None = None

    def inputs(self) -> dict[str, Tensor]:
        """Keyword inputs of the model's forward."""
        attention = self.mask.long() if self.attention is None else self.attention
        inputs = {"input_ids": self.input_ids, "attention_mask": attention}
        if self.position_ids is not None:
            inputs["position_ids"] = self.position_ids
        return inputs

    def __len__(self) -> int:
        return int(self.input_ids.shape[0])

    def rows(self, index: Tensor) -> Batch:
        """Pick (or repeat) rows."""
        positions = None if self.position_ids is None else self.position_ids[index]
        attention = None if self.attention is None else self.attention[index]
        named = None if self.named is None else {name: one[index] for name, one in self.named.items()}
        new = None if self.new is None else self.new[index]
        return Batch(self.input_ids[index], self.mask[index], positions, attention, named, new)


def pad(
    sequences: Sequence[Sequence[int] | np.ndarray],
    *,
    pad_id: int,
    device: Any = "cpu",
    side: str = "right",
    named: Mapping[str, Sequence[np.ndarray]] | None = None,
) -> Batch:
    """Pad token sequences into a `Batch`.

    Right padding keeps positions as they are and is what recording and scoring use; generation needs the left side.
    `named` holds, for each name, a bool of each sequence's tokens (from `positions.locate`).
    """
    import torch

    longest = max(len(sequence) for sequence in sequences)
    ids = torch.full((len(sequences), longest), pad_id, dtype=torch.long)
    mask = torch.zeros((len(sequences), longest), dtype=torch.bool)
    marks = {name: torch.zeros_like(mask) for name in named or {}}
    for row, sequence in enumerate(sequences):
        where = slice(0, len(sequence)) if side == "right" else slice(longest - len(sequence), longest)
        ids[row, where] = torch.as_tensor(np.asarray(sequence, dtype=np.int64))
        mask[row, where] = True
        for name, own in (named or {}).items():
            marks[name][row, where] = torch.from_numpy(own[row])
    return Batch(ids.to(device), mask.to(device), named={name: one.to(device) for name, one in marks.items()} or None)


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
            If a text has no token at all, or holds half a character (a lone surrogate).
        """
        return self._encode(texts, special=special)["input_ids"] if texts else []

    def encode_with_offsets(
        self, texts: Sequence[str], *, special: bool = True
    ) -> tuple[list[list[int]], list[list[tuple[int, int]]]]:
        """Token ids of each text, and the characters ``[first, last)`` that each token covers.

        Raises
        ------
        ModelError
            If the tokenizer cannot tell them (a slow one).
        CorpusError
            As for `encode`.
        """
        if not self.tokenizer.is_fast:
            raise ModelError(
                f"the tokenizer {type(self.tokenizer).__name__} does not say which characters a token covers, which "
                "spans, chat format and splitting need; use a model with a fast tokenizer, or plain whole texts"
            )
        found = self._encode(texts, special=special, return_offsets_mapping=True)
        return found["input_ids"], found["offset_mapping"]

    def _encode(self, texts: Sequence[str], *, special: bool, **options: Any) -> Any:
        try:
            found = self.tokenizer(list(texts), add_special_tokens=special, **options)
        except (UnicodeEncodeError, TypeError) as error:  # tokenizers wants UTF-8, which half a character has not
            for row, text in enumerate(texts):
                if any("\ud800" <= one <= "\udfff" for one in text):
                    raise CorpusError(
                        f"text {row} holds half a character (a lone surrogate): {text[:40]!a}; repair the file "
                        "that it came from"
                    ) from error
            raise
        for row, ids in enumerate(found["input_ids"]):
            if not ids:
                raise CorpusError(f"text {row} has no tokens: {texts[row][:40]!r}; leave it out")
        return found

    def render(self, messages: Sequence[dict[str, str]], *, reply: bool) -> str:
        """A conversation as the chat template writes it; with `reply`, up to where the assistant's answer begins.

        Raises
        ------
        ModelError
            If the model has no chat template, or its template refuses the conversation.
        """
        from jinja2 import TemplateError

        if not self.chat:
            raise ModelError("this model has no chat template; give plain text (format='plain')")
        try:
            found: Any = self.tokenizer.apply_chat_template(list(messages), add_generation_prompt=reply, tokenize=False)
        except TemplateError as error:
            raise ModelError(f"the chat template refuses the conversation: {error}") from error
        return found

    def chat_prompt(self, text: str) -> list[int]:
        """Token ids of a user message, up to where the assistant's answer begins.

        Raises
        ------
        ModelError
            If the model has no chat template.
        """
        return self.encode([self.render([{"role": "user", "content": text}], reply=True)], special=False)[0]

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

    def unpadded(self, ids: Sequence[int]) -> list[int]:
        """A generated text without the padding behind its end."""
        end = len(ids)
        while end and ids[end - 1] == self.pad_id:
            end -= 1
        return [int(one) for one in ids[:end]]
