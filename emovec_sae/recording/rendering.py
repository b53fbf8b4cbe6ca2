"""Texts as the model sees them: alone or inside the chat template, cut or split where they are too long."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from emovec_sae.errors import CorpusError, ModelError
from emovec_sae.models.tokens import Tokens
from emovec_sae.recording.reading import Reading

_MARK = "\ue000"
"""Stands for the text while the template around it is found; no text holds it (a private-use character)."""


@dataclass(frozen=True)
class Rendered:
    """One token sequence.

    Attributes
    ----------
    row
        Row of its text in the corpus.
    ids
        Token ids.
    body
        Tokens ``[first, last)`` of the text itself, without what the tokenizer or the template puts around it.
    characters
        Characters ``[first, last)`` of the text that each token covers, empty outside of the body; None if nobody
        asked.
    part
        Number of the piece of a split text, else None.
    """

    row: int
    ids: list[int]
    body: tuple[int, int]
    characters: list[tuple[int, int]] | None
    part: int | None = None


def render(tokens: Tokens, rows: Mapping[int, Mapping[str, Any]], reading: Reading, *, offsets: bool) -> list[Rendered]:
    """Tokenise corpus rows (row number -> its columns) as `reading` says; `offsets` asks for the characters.

    Raises
    ------
    CorpusError
        If a text cannot be tokenised, or an assistant's text has no ``prompt``.
    ModelError
        If the model has no chat template, or its template changes the text.
    """
    chat = reading.format == "chat"
    placed = [_in_template(tokens, row, reading) if chat else (row["text"], 0, 0, 0) for row in rows.values()]
    strings = [one[0] for one in placed]
    special = frozenset(tokens.tokenizer.all_special_ids)
    found: list[Rendered] = []
    if not (chat or offsets):
        for number, ids in zip(rows, tokens.encode(strings), strict=True):
            found.append(Rendered(number, ids, _inside(ids, special), None))
        return found
    every, covered = tokens.encode_with_offsets(strings, special=not chat)
    for number, ids, spans, (_, first, last, shift) in zip(rows, every, covered, placed, strict=True):
        if chat:
            inner = [index for index, (start, end) in enumerate(spans) if start < last and end > first]
            if not inner:
                raise CorpusError(f"row {number} has no token of its own inside the chat template; leave it out")
            body = (inner[0], inner[-1] + 1)
        else:
            body = _inside(ids, special)
        own = [
            (max(start - shift, 0), max(end - shift, 0)) if body[0] <= index < body[1] else (0, 0)
            for index, (start, end) in enumerate(spans)
        ]
        found.append(Rendered(number, ids, body, own))
    return found


def fitted(one: Rendered, *, context: int, long: str) -> Iterator[Rendered]:
    """The sequences that a text becomes under the policy for long texts; one that fits stays as it is.

    Raises
    ------
    ModelError
        If what stands around the text fills the context by itself.
    """
    if len(one.ids) <= context or long == "error":
        yield one
        return
    first, last = one.body
    around = len(one.ids) - (last - first)
    if around >= context:
        raise ModelError(f"the template alone has {around} tokens, the model reads at most {context}")
    room = context - around
    count = 1 if long == "truncate" else math.ceil((last - first) / room)
    step = room if long == "truncate" else math.ceil((last - first) / count)
    for part in range(count):
        start = first + part * step
        end = min(start + step, last)
        ids = one.ids[:first] + one.ids[start:end] + one.ids[last:]
        covered = one.characters
        if covered is not None:
            covered = covered[:first] + covered[start:end] + covered[last:]
        yield Rendered(one.row, ids, (first, first + end - start), covered, None if long == "truncate" else part)


def _inside(ids: list[int], special: frozenset[int]) -> tuple[int, int]:
    """Tokens between the special ones at both ends."""
    first, last = 0, len(ids)
    while first < last and ids[first] in special:
        first += 1
    while last > first and ids[last - 1] in special:
        last -= 1
    return first, last


def _in_template(tokens: Tokens, row: Mapping[str, Any], reading: Reading) -> tuple[str, int, int, int]:
    """The conversation, the characters of the text in it, and how far the text's characters were shifted."""
    text = str(row["text"])
    reply = reading.role == "user"
    whole = tokens.render(_messages(row, reading, text), reply=reply)
    before, _, after = tokens.render(_messages(row, reading, _MARK), reply=reply).partition(_MARK)
    body = whole[len(before) : len(whole) - len(after)]
    if not (whole.startswith(before) and whole.endswith(after) and body in (text, text.strip())):
        raise ModelError("the chat template changes the text, so its tokens cannot be told; use format='plain'")
    return whole, len(before), len(before) + len(body), len(before) - text.find(body)


def _messages(row: Mapping[str, Any], reading: Reading, text: str) -> list[dict[str, str]]:
    message = {"role": reading.role, "content": text}
    if reading.role == "user":
        return [message]
    prompt = row.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise CorpusError(
            f"text '{row['id']}' has no 'prompt': a text of the assistant answers one; add the column, or use role user"
        )
    return [{"role": "user", "content": prompt}, message]
