"""Log-probability of two whole answers behind each question, in both orders of the options, under any edit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from emovec_sae.errors import ConfigError, CorpusError, ModelError
from emovec_sae.models.model import Model
from emovec_sae.models.positions import Positions
from emovec_sae.models.seam import Edit, Prefix, forward, run_prefix
from emovec_sae.models.tokens import Batch
from emovec_sae.sites import Site

if TYPE_CHECKING:
    from torch import Tensor

_TOKENS = 768
"""Tokens of a batch: about what a processor's caches hold."""

Answer = tuple[tuple[int, ...], ...]
"""Token sequences that count as one answer: a whole text, or a letter in several spellings."""


@dataclass(frozen=True)
class Question:
    """What a model reads, and the two answers that are compared behind it.

    Attributes
    ----------
    ids
        Tokens up to where the answer is due.
    answers
        The two answers.
    marks
        The tokens of the question that spell one of its options, (tokens,) bool; None if they are not told.
    """

    ids: tuple[int, ...]
    answers: tuple[Answer, Answer]
    marks: np.ndarray | None = None


class AnswerScorer:
    """Score two answers behind each question; the blocks below the edited site run once a question.

    The tokens of both answers stand behind the question in one row, and neither sees the other.

    Parameters
    ----------
    model
        The model.
    questions
        What to ask.
    site
        Edits will act at this site or above it.

    Raises
    ------
    ConfigError
        If there are no questions.
    CorpusError
        If a question is longer than the model's context.
    ModelError
        If the model's attention does not take two answers behind one question (checked against plain rows).
    """

    def __init__(self, model: Model, questions: Sequence[Question], *, site: Site) -> None:
        if not questions:
            raise ConfigError("there are no questions to ask; give at least 1")
        self.model, self.questions, self.site = model, tuple(questions), site
        longest = max(len(_row(one)[0]) for one in self.questions)
        if longest > model.context:
            raise CorpusError(
                f"a question has {longest} tokens with its answers, '{model.name}' reads {model.context}; shorten it"
            )
        self._check()
        self._parts: list[tuple[Prefix, list[int]]] = []
        for rows in _batches([len(_row(one)[0]) for one in self.questions]):
            batch = _batch(model, [self.questions[row] for row in rows])
            self._parts.append((run_prefix(model, batch, site), rows))

    def log_probs(self, edits: Sequence[Edit] = (), *, marked: bool = False) -> np.ndarray:
        """Natural log-probability of the two answers of each question, (questions, 2) float64.

        Parameters
        ----------
        edits
            Applied to questions and answers.
        marked
            Apply them on the marked tokens of each question only.

        Raises
        ------
        ConfigError
            If an edit acts on positions that several futures do not have in common, or a question has no marks.
        """
        for edit in edits:
            if Positions.parse(edit.positions).kind not in ("all", "from"):
                raise ConfigError(
                    f"answers are scored with edits at positions 'all' or 'from:N', this one acts on "
                    f"'{edit.positions}': both answers are read at once"
                )
        found = np.empty((len(self.questions), 2))
        for prefix, rows in self._parts:
            here = [_At(edit, self._marks(prefix.batch, rows)) for edit in edits] if marked else edits
            final = forward(self.model, prefix.batch, edits=here, prefix=prefix, final=True).final
            if final is None:
                raise ModelError("the model gave no final state")
            found[rows] = _scores(self.model, final, [self.questions[row] for row in rows])
        return found

    def _marks(self, batch: Batch, rows: Sequence[int]) -> Tensor:
        """Marked tokens of a batch, (batch, sequence) bool."""
        import torch

        found = torch.zeros_like(batch.mask)
        for row, index in enumerate(rows):
            marks = self.questions[index].marks
            if marks is None:
                raise ConfigError("these questions do not say which tokens spell an option; edit all positions instead")
            found[row, : len(marks)] = torch.from_numpy(marks).to(found.device)
        return found

    def _check(self) -> None:
        """Hold one question with its answers against plain rows, which a wrong mask or position would betray."""
        import torch

        question = max(self.questions, key=lambda one: max(len(piece) for own in one.answers for piece in own))
        got = forward(self.model, _batch(self.model, [question]), final=True).final
        _, starts = _row(question)
        for (side, spelling), start in starts.items():
            piece = question.answers[side][spelling]
            if len(piece) == 1:
                continue
            ids = torch.tensor([[*question.ids, *piece[:-1]]], device=self.model.device)
            plain = forward(self.model, Batch(ids, torch.ones_like(ids, dtype=torch.bool)), final=True).final
            if got is None or plain is None:
                raise ModelError("the model gave no final state")
            one, other = got[0, start + len(piece) - 2].float(), plain[0, -1].float()
            if torch.nn.functional.cosine_similarity(one, other, dim=0) < 0.99:
                raise ModelError(
                    f"'{self.model.name}' does not take two answers behind one question (its attention ignores a mask "
                    "of its own), so whole answers cannot be scored on it"
                )


class _At:
    """An edit that is kept to given tokens of one batch."""

    def __init__(self, edit: Edit, marks: Tensor) -> None:
        self._edit, self._marks = edit, marks
        self.site, self.positions = edit.site, edit.positions

    def __call__(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Edit where both masks let through."""
        return self._edit(hidden, mask & self._marks)


def _row(question: Question) -> tuple[list[int], dict[tuple[int, int], int]]:
    """Tokens of a question with both answers (each without its last token), and where each answer begins."""
    ids, starts = list(question.ids), {}
    for side, own in enumerate(question.answers):
        for spelling, piece in enumerate(own):
            starts[side, spelling] = len(ids)
            ids += piece[:-1]
    return ids, starts


def _batch(model: Model, questions: Sequence[Question]) -> Batch:
    """Right-padded rows in which an answer sees its question and itself."""
    import torch

    rows = [_row(one) for one in questions]
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.full((len(rows), longest), model.tokens.pad_id, dtype=torch.long)
    mask, positions = torch.zeros_like(ids, dtype=torch.bool), torch.zeros_like(ids)
    sees = torch.zeros((len(rows), longest, longest), dtype=torch.bool)
    for row, (question, (own, starts)) in enumerate(zip(questions, rows, strict=True)):
        asked = len(question.ids)
        ids[row, : len(own)], mask[row, : len(own)] = torch.tensor(own), True
        positions[row, :asked] = torch.arange(asked)
        sees[row, :asked, :asked] = torch.ones(asked, asked, dtype=torch.bool).tril()
        for (side, spelling), start in starts.items():
            size = len(question.answers[side][spelling]) - 1
            positions[row, start : start + size] = torch.arange(asked, asked + size)
            sees[row, start : start + size, :asked] = True
            sees[row, start : start + size, start : start + size] = torch.ones(size, size, dtype=torch.bool).tril()
        sees[row, range(len(own), longest), range(len(own), longest)] = True  # a padded row must see something
    where = model.device
    if all(len(piece) == 1 for one in questions for own in one.answers for piece in own):
        return Batch(ids.to(where), mask.to(where))  # nothing but the question: the model's own mask will do
    dtype = next(model.module.parameters()).dtype
    additive = torch.zeros(sees.shape, dtype=dtype).masked_fill(~sees, torch.finfo(dtype).min)
    return Batch(ids.to(where), mask.to(where), positions.to(where), additive[:, None].to(where))


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Rows of like length together, of so many tokens a batch."""
    found: list[list[int]] = []
    for row in np.argsort(lengths, kind="stable").tolist():
        if not found or (len(found[-1]) + 1) * lengths[row] > _TOKENS:
            found.append([])
        found[-1].append(row)
    return found


def _scores(model: Model, final: Tensor, questions: Sequence[Question]) -> np.ndarray:
    """Log-probabilities of the two answers, (questions, 2); a text's tokens add up, spellings are joined."""
    import torch

    places: list[tuple[int, int, int]] = []
    owners: list[tuple[int, int, int]] = []
    for row, question in enumerate(questions):
        _, starts = _row(question)
        for (side, spelling), start in starts.items():
            for step, token in enumerate(question.answers[side][spelling]):
                places.append((row, len(question.ids) - 1 if step == 0 else start + step - 1, token))
                owners.append((row, side, spelling))
    # states that several tokens are read from go through the head once
    states = sorted({(row, at) for row, at, _ in places})
    place = {one: index for index, one in enumerate(states)}
    index = torch.tensor(states, device=final.device)
    with torch.no_grad():
        logits = model.head(final[index[:, 0], index[:, 1]])
        total = logits.logsumexp(dim=-1)
    rows = torch.tensor([place[row, at] for row, at, _ in places], device=logits.device)
    tokens = torch.tensor([token for _, _, token in places], device=logits.device)
    values = (logits[rows, tokens] - total[rows]).double().cpu().numpy()
    found = np.full((len(questions), 2), -np.inf)
    whole: dict[tuple[int, int, int], float] = {}
    for owner, value in zip(owners, values, strict=True):
        whole[owner] = whole.get(owner, 0.0) + float(value)
    for (row, side, _), value in whole.items():
        found[row, side] = np.logaddexp(found[row, side], value)
    return found
