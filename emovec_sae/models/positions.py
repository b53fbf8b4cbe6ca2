"""Positions: which tokens an edit may act on, named in words that hold for any prompt."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from emovec_sae.errors import ConfigError, CorpusError, ModelError, suggest

if TYPE_CHECKING:
    from torch import Tensor

    from emovec_sae.models.tokens import Batch, Tokens

NAMES = ("all", "prompt", "generated", "last")
"""Positions that need no argument."""
ROLES = ("user", "assistant", "system")
HOW = "all, prompt, generated, last, from:N, span:FIRST-LAST, role:user"

_FROM = re.compile(r"from:(\d+)")
_SPAN = re.compile(r"span:(\d+)-(\d+)")
_ROLE = re.compile(r"role:(\w+)")
_MARK = "\ue000"
"""Stands for a message while the template around it is found; no text holds it (a private-use character)."""


@dataclass(frozen=True)
class Positions:
    """Which tokens an edit may act on; read from and written as a short text.

    Attributes
    ----------
    kind
        ``all``; ``prompt``; ``generated``; ``last`` (of the prompt, then each new token); ``from`` (the token `first`
        and all behind it, counted from 0 at the first real token of the row, new tokens included); ``span`` (tokens
        that touch the characters ``[first, last)`` of the prompt as the user wrote it); ``role`` (the tokens of one
        side of a conversation; new tokens are the assistant's).
    first, last
        Of ``from`` and ``span``.
    role
        ``user``, ``assistant`` or ``system``.
    """

    kind: str
    first: int = 0
    last: int = 0
    role: str = ""

    @classmethod
    def parse(cls, text: str | Positions) -> Positions:
        """Read ``all``, ``prompt``, ``generated``, ``last``, ``from:12``, ``span:10-25`` or ``role:user``.

        Raises
        ------
        ConfigError
            If it is none of these, a span is empty, or the role is unknown.
        """
        if isinstance(text, Positions):
            return text
        if text in NAMES:
            return cls(text)
        if found := _FROM.fullmatch(text):
            return cls("from", int(found[1]))
        if found := _SPAN.fullmatch(text):
            first, last = int(found[1]), int(found[2])
            if first >= last:
                raise ConfigError(f"positions '{text}' hold no character; write span:FIRST-LAST, LAST excluded")
            return cls("span", first, last)
        if found := _ROLE.fullmatch(text):
            if found[1] not in ROLES:
                raise ConfigError(f"unknown role '{found[1]}'{suggest(found[1], ROLES)}; roles are {', '.join(ROLES)}")
            return cls("role", role=found[1])
        raise ConfigError(f"unknown positions '{text}'{suggest(text, NAMES)}; there are {HOW}")

    def __str__(self) -> str:
        if self.kind == "span":
            return f"span:{self.first}-{self.last}"
        return {"from": f"from:{self.first}", "role": f"role:{self.role}"}.get(self.kind, self.kind)

    @property
    def named(self) -> bool:
        """Whether the texts are needed to tell these tokens, not their order alone."""
        return self.kind in ("span", "role")

    def mask(self, batch: Batch, step: int) -> Tensor:
        """Tokens on which an edit acts.

        Parameters
        ----------
        batch
            The prompts.
        step
            Step of generation; 0 is the prompt itself.

        Returns
        -------
        torch.Tensor
            Bool, shape (batch, sequence) at step 0 and (batch, 1) behind it.

        Raises
        ------
        ConfigError
            If the positions need the texts, and the batch was made of tokens alone.
        """
        import torch

        if step:
            return self._behind(batch, step)
        mask = batch.mask
        new = torch.zeros_like(mask) if batch.new is None else batch.new & mask
        if self.named:
            found = (batch.named or {}).get(str(self))
            if found is None:
                raise ConfigError(
                    f"positions '{self}' are told by the texts, and this batch was made of tokens alone; "
                    "give texts (generate, sweep), or other positions"
                )
            return (found & mask) | new if self.role == "assistant" else found & mask
        if self.kind == "from":
            place = mask.long().cumsum(1) - 1 if batch.position_ids is None else batch.position_ids
            return mask & (place >= self.first)
        if self.kind == "last":
            index = torch.arange(mask.shape[1], device=mask.device)
            return (index == torch.where(mask & ~new, index, -1).amax(dim=1, keepdim=True)) | new
        return {"generated": new, "prompt": mask & ~new}.get(self.kind, mask)

    def _behind(self, batch: Batch, step: int) -> Tensor:
        import torch

        column = torch.ones_like(batch.mask[:, :1])
        if self.kind == "from":
            return (batch.mask.sum(dim=1, keepdim=True) + step - 1) >= self.first
        acts = self.kind in ("all", "generated", "last") or self.role == "assistant"
        return column if acts else torch.zeros_like(column)


@dataclass(frozen=True)
class Conversation:
    """A prompt as the model reads it, with the characters of each message in it.

    Attributes
    ----------
    text
        What is tokenised.
    parts
        (role, first, last) of each message's own text in `text`.
    """

    text: str
    parts: tuple[tuple[str, int, int], ...]


def conversation(tokens: Tokens, prompt: str | Sequence[Mapping[str, str]], *, chat: bool) -> Conversation:
    """Write a prompt as the model reads it: a text, or a conversation in the chat template.

    Raises
    ------
    ConfigError
        If a conversation is given without the chat template.
    ModelError
        If the template refuses the conversation, or changes its texts so that they cannot be found again.
    """
    if not chat:
        if not isinstance(prompt, str):
            raise ConfigError("a conversation needs the chat template (chat=True); give one text instead")
        return Conversation(prompt, (("", 0, len(prompt)),))
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [dict(one) for one in prompt]
    whole = tokens.render(messages, reply=True)
    parts: list[tuple[str, int, int]] = []
    for index, message in enumerate(messages):
        marked = [{**one, "content": _MARK} if place == index else one for place, one in enumerate(messages)]
        before, _, after = tokens.render(marked, reply=True).partition(_MARK)
        first, last = len(before), len(whole) - len(after)
        if not (whole.startswith(before) and whole.endswith(after) and whole[first:last] == message["content"].strip()):
            raise ModelError("the chat template changes the text, so its tokens cannot be told; use chat=False")
        parts.append((message["role"], first, last))
    return Conversation(whole, tuple(parts))


def locate(
    tokens: Tokens,
    prompts: Sequence[str | Sequence[Mapping[str, str]]],
    wanted: Iterable[str],
    *,
    chat: bool,
    ending: str = "",
) -> tuple[list[list[int]], dict[str, list[np.ndarray]]]:
    """Tokenise prompts and find the tokens that ``span`` and ``role`` positions mean in each.

    Parameters
    ----------
    tokens
        The model's tokenizer.
    prompts
        Texts; with `chat`, conversations too (lists of ``{"role", "content"}``).
    wanted
        Positions that the edits act on.
    chat
        Write them in the chat template.
    ending
        Written behind each prompt, where an answer decides how the prompt's last token is cut; it is never meant.

    Returns
    -------
    ids
        Token ids of each prompt.
    named
        Positions -> bool of each prompt's tokens, for those that need the texts.

    Raises
    ------
    ConfigError
        If a role is asked for without the chat template.
    CorpusError
        If a span lies outside of a prompt, or no token is of the role.
    ModelError
        As `conversation`, or if the tokenizer cannot tell characters.
    """
    asked = [one for one in dict.fromkeys(map(Positions.parse, wanted)) if one.named]
    if any(one.kind == "role" for one in asked) and not chat:
        raise ConfigError("positions 'role:...' need the chat template; this prompt is plain text")
    if not asked and not ending:
        return [_ids(tokens, one, chat=chat) for one in prompts], {}
    placed = [conversation(tokens, one, chat=chat) for one in prompts]
    ids, offsets = tokens.encode_with_offsets([one.text + ending for one in placed], special=not chat)
    named = {
        str(one): [_tokens_of(one, there, spans) for there, spans in zip(placed, offsets, strict=True)] for one in asked
    }
    return ids, named


def marked(batch: Batch, tokens: Tokens, texts: Sequence[str], wanted: Iterable[str]) -> Batch:
    """A right-padded batch of plain texts with the tokens marked that ``span`` positions mean in each text.

    Parameters
    ----------
    batch
        The texts' first tokens, or all of them and more behind.
    tokens
        The model's tokenizer.
    texts
        The texts, one a row.
    wanted
        Positions that the edits act on; others than named ones need no mark.

    Raises
    ------
    ConfigError, CorpusError, ModelError
        As `locate`.
    """
    import torch

    missing = [one for one in wanted if Positions.parse(one).named and one not in (batch.named or {})]
    if not missing:
        return batch
    marks = dict(batch.named or {})
    for name, rows in locate(tokens, texts, missing, chat=False)[1].items():
        mask = torch.zeros_like(batch.mask)
        for row, own in enumerate(rows):
            size = min(len(own), mask.shape[1])
            mask[row, :size] = torch.from_numpy(own[:size]).to(mask.device)
        marks[name] = mask
    return replace(batch, named=marks)


def _ids(tokens: Tokens, prompt: str | Sequence[Mapping[str, str]], *, chat: bool) -> list[int]:
    if isinstance(prompt, str):
        return tokens.chat_prompt(prompt) if chat else tokens.encode([prompt])[0]
    if not chat:
        raise ConfigError("a conversation needs the chat template (chat=True); give one text instead")
    return tokens.encode([tokens.render([dict(one) for one in prompt], reply=True)], special=False)[0]


def _tokens_of(asked: Positions, placed: Conversation, offsets: Sequence[tuple[int, int]]) -> np.ndarray:
    """Tokens that touch the characters meant, shape (sequence,)."""
    if asked.kind == "role":
        ranges = [(first, last) for role, first, last in placed.parts if role == asked.role]
    else:
        user = [part for part in placed.parts if part[0] in ("user", "")]
        _, first, last = user[-1]
        if asked.last > last - first:
            raise CorpusError(f"positions '{asked}' lie outside of a prompt of {last - first} characters")
        ranges = [(first + asked.first, first + asked.last)]
    found: Any = np.array([any(a < last and b > first for first, last in ranges) for a, b in offsets], dtype=bool)
    if not found.any() and asked.role != "assistant":  # its tokens may all be still to come
        raise CorpusError(f"positions '{asked}' hold no token of the prompt {placed.text[:40]!r}")
    return found
