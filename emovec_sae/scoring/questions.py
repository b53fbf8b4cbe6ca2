"""Questions with two answers: activities named by letters, and answers that are whole texts, in both orders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emovec_sae.errors import ConfigError, ModelError
from emovec_sae.models.model import Model
from emovec_sae.scoring.answers import Question
from emovec_sae.scoring.choices import LETTERS, asker, letter_tokens

WHOLE = {
    "chat": ("{prompt}\n\nReply with one of these two answers:\n- {first}\n- {second}", "{answer}"),
    "completion": ("{prompt}\n\nOne of these two answers:\n- {first}\n- {second}\n\nThe answer:", " {answer}"),
}
"""Question and answer as a user's message and its reply, and as one text."""


def form_of(model: Model, *, chat: bool | None) -> str:
    """``chat`` or ``completion``: what was asked for, or the chat template where the model has one."""
    return "chat" if (model.tokens.chat if chat is None else chat) else "completion"


def letter_questions(
    model: Model, first: Sequence[str], second: Sequence[str], *, chat: bool | None = None
) -> list[Question]:
    """Ask which of two activities, by letter; the tokens of the first of each pair are marked.

    Parameters
    ----------
    model
        The model.
    first, second
        Activities, paired by position.
    chat
        As in `forced_choice`.

    Returns
    -------
    list of Question
        Every pair with `first` as (A), then every pair with `first` as (B). The answers are always (A, B).

    Raises
    ------
    ConfigError
        If the lists differ in length, or a pair holds the same text twice.
    ModelError, CorpusError
        As in `forced_choice`.
    """
    if len(first) != len(second) or any(one == other for one, other in zip(first, second, strict=True)):
        raise ConfigError(f"{len(first)} first and {len(second)} second options; pairs of two unlike texts are needed")
    form = form_of(model, chat=chat)
    ask = asker(model, form)
    pairs = [*zip(first, second, strict=True), *zip(second, first, strict=True)]
    texts = [ask(one, other) for one, other in pairs]
    ids, answers = letter_tokens(model, texts, form)
    _, offsets = model.tokens.encode_with_offsets([text + LETTERS[0] for text in texts], special=form == "completion")
    sides = tuple(tuple((token,) for token in own) for own in answers)
    found: list[Question] = []
    for row, text in enumerate(texts):
        letter, option = LETTERS[row >= len(first)], first[row % len(first)].strip().rstrip(".")
        start = text.index(f"({letter}) {option}") + len(f"({letter}) ")
        marks = _touching(offsets[row][: len(ids[row])], start, start + len(option))
        found.append(Question(tuple(ids[row]), (sides[0], sides[1]), marks))
    return found


def whole_questions(
    model: Model, prompts: Sequence[str], first: Sequence[str], second: Sequence[str], *, chat: bool | None = None
) -> list[Question]:
    """Ask a prompt with its two answers told, each of which is scored as a whole.

    Parameters
    ----------
    model
        The model.
    prompts, first, second
        Prompts and the two answers of each.
    chat
        As in `forced_choice`.

    Returns
    -------
    list of Question
        Every prompt with `first` listed first, then every prompt with `second` listed first. The answers are always
        (first, second).

    Raises
    ------
    ModelError
        If the tokenizer merges the beginning of an answer with the question, or the model has no chat template and
        `chat` is True.
    """
    form = form_of(model, chat=chat)
    told, reply = WHOLE[form]
    listed = [*zip(prompts, first, second, strict=True), *zip(prompts, second, first, strict=True)]
    texts = [told.format(prompt=prompt.strip(), first=one.strip(), second=two.strip()) for prompt, one, two in listed]
    if form == "chat":
        texts = [model.tokens.render([{"role": "user", "content": text}], reply=True) for text in texts]
    asked = model.tokens.encode(texts, special=form == "completion")
    sides = []
    for own in (first, second):
        endings = [reply.format(answer=one.strip()) for one in own] * 2
        whole = [text + ending for text, ending in zip(texts, endings, strict=True)]
        sides.append(model.tokens.encode(whole, special=form == "completion"))
    found: list[Question] = []
    for ids, one, other in zip(asked, *sides, strict=True):
        if any(answer[: len(ids)] != ids or len(answer) == len(ids) for answer in (one, other)):
            raise ModelError(
                f"the tokenizer of '{model.name}' merges an answer with the question before it, so answers cannot be "
                f"scored apart; try {'chat=False' if form == 'chat' else 'another model'}"
            )
        found.append(Question(tuple(ids), ((tuple(one[len(ids) :]),), (tuple(other[len(ids) :]),))))
    return found


def _touching(offsets: Sequence[tuple[int, int]], first: int, last: int) -> np.ndarray:
    """Tokens that touch the characters ``[first, last)``."""
    return np.array([start < last and end > first for start, end in offsets], dtype=bool)
