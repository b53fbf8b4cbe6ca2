"""Forced choices: which of two activities a model would rather do, each pair asked in both orders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from emovec_sae.errors import ConfigError, CorpusError, ModelError
from emovec_sae.models.model import Model
from emovec_sae.models.positions import Positions, locate
from emovec_sae.models.seam import Edit, forward
from emovec_sae.models.tokens import Batch, pad

if TYPE_CHECKING:
    from torch import Tensor

LETTERS = ("A", "B")
"""Names of the two options; the first stands first in the question."""

FORMS = {
    "chat": "Which would you rather do?\n(A) {first}\n(B) {second}\nAnswer with A or B.",
    "completion": "Given the choice between (A) {first} and (B) {second}, I would rather do (",
}
"""The question as a user's message, and as a text that breaks off before the answer."""


@dataclass(frozen=True, eq=False)
class Choices:
    """What a model picked from pairs of options.

    Attributes
    ----------
    log_odds
        Log-odds of picking the first of a pair over the second, mean of both orders, in nats, shape (pairs,) float64.
    bias
        Half the difference between the orders: log-odds of the letter A whatever it stands for, shape (pairs,).
    mass
        Probability of the two letters together, mean of both orders, shape (pairs,): little means that the model would
        rather have said something else.
    form
        ``chat`` or ``completion``.
    answers
        The tokens that count as A and as B, readable.
    """

    log_odds: np.ndarray
    bias: np.ndarray
    mass: np.ndarray
    form: str
    answers: tuple[tuple[str, ...], tuple[str, ...]]

    def __repr__(self) -> str:
        return f"Choices({len(self.log_odds)} pairs, {self.form}, position bias {self.position_bias:.2f} nats)"

    @property
    def position_bias(self) -> float:
        """Mean log-odds of the letter A, in nats."""
        return float(self.bias.mean())

    @property
    def consistent(self) -> np.ndarray:
        """Whether both orders pick the same option, shape (pairs,) bool."""
        return np.abs(self.log_odds) > np.abs(self.bias)


def forced_choice(
    model: Model,
    first: Sequence[str],
    second: Sequence[str],
    *,
    chat: bool | None = None,
    batch: int = 32,
    edits: Sequence[Edit] = (),
) -> Choices:
    """Ask a model to choose between pairs of activities, without generating anything.

    A preference for a letter or a place raises one option in one order and the other in the other order, so the mean of
    both orders is free of it.

    Parameters
    ----------
    model
        The model.
    first, second
        Activities, paired by position, such as "sorting names into alphabetical order".
    chat
        Ask in the model's chat template; None does so if it has one.
    batch
        Questions of a forward pass.
    edits
        Applied while the model reads the question.

    Raises
    ------
    ConfigError
        If there are no pairs, the two lists differ in length, or an edit acts on generated tokens only (or on a role,
        without the chat template).
    CorpusError
        If a question is longer than the model's context, or an edit acts on a span that it does not have.
    ModelError
        If a letter is not one token after the question, or the model has no chat template and `chat` is True.

    References
    ----------
    Sofroniew et al. 2026 (arXiv 2604.07729), section on preferences between activities.
    """
    if len(first) != len(second) or not len(first):
        raise ConfigError(
            f"{len(first)} first and {len(second)} second options; pairs need as many of both, at least 1"
        )
    if batch < 1:
        raise ConfigError(f"batch is {batch}; a forward pass takes at least 1 question")
    for edit in edits:
        if edit.positions in ("generated", "role:assistant"):
            raise ConfigError(
                f"a forced choice generates nothing: an edit at '{edit.positions}' would change nothing; use 'all'"
            )
    form = "chat" if (model.tokens.chat if chat is None else chat) else "completion"
    ask = asker(model, form)
    questions = [ask(one, other) for one, other in zip(first, second, strict=True)]
    questions += [ask(other, one) for one, other in zip(first, second, strict=True)]
    ids, answers = letter_tokens(model, questions, form)
    asked = [worded(form, *pair) for pair in (*zip(first, second, strict=True), *zip(second, first, strict=True))]
    named = _named(model, asked, [len(one) for one in ids], edits, form)
    log_probs = _log_probs(model, ids, answers, batch, edits, named)
    forth, back = np.split(log_probs[:, 0] - log_probs[:, 1], 2)
    mass = np.exp(log_probs).sum(axis=1).reshape(2, -1).mean(axis=0)
    names = tuple(tuple(model.token_strings(tokens)) for tokens in answers)
    return Choices((forth - back) / 2, (forth + back) / 2, mass, form, (names[0], names[1]))


def worded(form: str, first: str, second: str) -> str:
    """The question as the user puts it; its characters are what ``span`` positions of an edit count."""
    return FORMS[form].format(first=first.strip().rstrip("."), second=second.strip().rstrip("."))


def asker(model: Model, form: str) -> Callable[[str, str], str]:
    """Write a question, up to where the letter is due."""

    def _ask(first: str, second: str) -> str:
        asked = worded(form, first, second)
        return model.tokens.render([{"role": "user", "content": asked}], reply=True) if form == "chat" else asked

    return _ask


def letter_tokens(model: Model, questions: Sequence[str], form: str) -> tuple[list[list[int]], list[list[int]]]:
    """Token ids of the questions, and the tokens that answer A and B behind them.

    Each question is tokenised with its answer and cut before it, so that a letter that merges with what precedes it is
    compared as the model knows it. Behind a chat header the letter after a space counts too, where it is one token.
    """
    special = form == "completion"  # a chat template writes its own

    def _ending(ending: str, some: Sequence[str]) -> list[list[int]]:
        return model.tokens.encode([text + ending for text in some], special=special)

    whole, other = _ending(LETTERS[0], questions), _ending(LETTERS[1], questions)
    ids, answers = [one[:-1] for one in whole], [[whole[0][-1]], [other[0][-1]]]
    fits = all(
        one == [*cut, answers[0][0]] and two == [*cut, answers[1][0]]
        for one, two, cut in zip(whole, other, ids, strict=True)
    )
    if not fits or answers[0] == answers[1]:
        raise ModelError(f"the tokenizer of '{model.name}' has no single tokens for the answers A and B")
    if form == "chat":
        spaced = [_ending(f" {letter}", questions[:1])[0] for letter in LETTERS]
        if all(one[:-1] == ids[0] for one in spaced):
            answers = [[*own, one[-1]] for own, one in zip(answers, spaced, strict=True)]
    longest = max(map(len, ids))
    if longest > model.context:
        raise CorpusError(f"a question has {longest} tokens, '{model.name}' reads {model.context}; shorten the texts")
    return ids, answers


def _named(
    model: Model, asked: Sequence[str], lengths: Sequence[int], edits: Sequence[Edit], form: str
) -> dict[str, list[np.ndarray]]:
    """Which tokens of each question the edits' named positions mean; cut before the letter, as the questions are."""
    wanted = [edit.positions for edit in edits if Positions.parse(edit.positions).named]
    if not wanted:
        return {}
    _, named = locate(model.tokens, asked, wanted, chat=form == "chat", ending=LETTERS[0])
    return {name: [own[:size] for own, size in zip(rows, lengths, strict=True)] for name, rows in named.items()}


def _log_probs(
    model: Model,
    ids: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    batch: int,
    edits: Sequence[Edit],
    named: Mapping[str, Sequence[np.ndarray]],
) -> np.ndarray:
    """Log-probabilities of the answers behind each question, shape (questions, 2); texts of like length together."""
    order = np.argsort([len(one) for one in ids], kind="stable")
    found = np.empty((len(ids), 2))
    for start in range(0, len(ids), batch):
        rows = order[start : start + batch]
        marks = {name: [own[row] for row in rows] for name, own in named.items()}
        some = pad([ids[row] for row in rows], pad_id=model.tokens.pad_id, device=model.device, named=marks)
        found[rows] = _answers(model, some, answers, edits).double().cpu().numpy()
    return found


def _answers(model: Model, batch: Batch, answers: Sequence[Sequence[int]], edits: Sequence[Edit]) -> Tensor:
    """Log-probabilities of the answers after one batch, shape (questions, 2)."""
    import torch

    final = forward(model, batch, edits=edits, final=True).final
    if final is None:
        raise ModelError("the model gave no final state")
    last = batch.mask.sum(dim=1) - 1
    with torch.no_grad():
        logits = model.head(final[torch.arange(len(last), device=final.device), last])
        chosen = torch.stack([logits[:, list(own)].logsumexp(dim=-1) for own in answers], dim=-1)
        return chosen - logits.logsumexp(dim=-1, keepdim=True)
