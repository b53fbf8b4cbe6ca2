"""A corpus as tokens: ids, and which of them are stored, averaged, or inside a marked span."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from emovec_sae.corpora.frame import Corpus
from emovec_sae.errors import CorpusError
from emovec_sae.models.model import Model
from emovec_sae.recording.reading import Reading
from emovec_sae.recording.rendering import Rendered, fitted, render
from emovec_sae.recording.spans import read_spans

_AT_ONCE = 1024
"""Texts tokenised together; the tokenizer's lists are many times as large as the ids that stay."""


@dataclass(frozen=True)
class Texts:
    """Token sequences of a recording, one after the other.

    Attributes
    ----------
    frame
        One row a sequence: the corpus's columns and ``n_tokens``; split texts have a row a piece, with ``part``.
    ids
        Token ids, (tokens,) int32.
    start
        Where each sequence begins, (texts + 1,) int64.
    kept, averaged, spanned
        Tokens that are stored; that ``mean`` and ``max`` use; that ``span`` uses. (tokens,) bool.
    """

    frame: pd.DataFrame
    ids: np.ndarray
    start: np.ndarray
    kept: np.ndarray
    averaged: np.ndarray
    spanned: np.ndarray

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each sequence, (texts,) int64."""
        return np.diff(self.start)

    def where(self, row: int) -> slice:
        """Tokens of a sequence."""
        return slice(int(self.start[row]), int(self.start[row + 1]))


def prepare(model: Model, corpus: Corpus, reading: Reading, pools: tuple[str, ...]) -> Texts:
    """Tokenise a corpus and decide which tokens are read.

    Parameters
    ----------
    model
        Its tokenizer and context.
    corpus
        The texts; pool ``span`` reads its column ``span``, role ``assistant`` its column ``prompt``.
    reading
        Format, role, tokens, offset and policy for long texts.
    pools
        Every pool that is asked for.

    Raises
    ------
    CorpusError
        If a text is longer than the context, or has no token for a pool.
    ModelError
        If the model cannot do what `reading` asks.
    """
    marked = "span" in pools
    if marked and "span" not in corpus.frame:
        raise CorpusError(
            f"pool 'span' needs the column 'span' in {corpus.name}: characters [first, last] of each text"
        )
    if marked and reading.long == "split":
        raise CorpusError("texts with spans cannot be split; use long='error' or 'truncate'")
    offsets = marked or reading.long == "split"
    sequences: list[Rendered] = []
    ids: list[np.ndarray] = []
    masks: list[np.ndarray] = []
    columns = corpus.frame.columns.tolist()
    for first in range(0, len(corpus), _AT_ONCE):
        block = corpus.frame.iloc[first : first + _AT_ONCE]
        rows = dict(enumerate((dict(zip(columns, one, strict=True)) for one in block.to_numpy(object)), start=first))
        for whole in render(model.tokens, rows, reading, offsets=offsets):
            for one in fitted(whole, context=model.context, long=reading.long):
                spans = _spans(rows[one.row]) if marked else []
                ids.append(np.asarray(one.ids, np.int32))
                masks.append(_masks(model, one, reading, spans))
                sequences.append(Rendered(one.row, [], one.body, _covered(one), one.part))
    every = np.concatenate(masks, axis=1)
    start = np.concatenate([[0], np.cumsum([len(one) for one in ids])]).astype(np.int64)
    frame = _frame(corpus, sequences, np.diff(start))
    texts = Texts(frame, np.concatenate(ids), start, every[0], every[1], every[2])
    _check(texts, corpus.name, model, reading, pools)
    return texts


def _masks(model: Model, one: Rendered, reading: Reading, spans: list[tuple[int, int]]) -> np.ndarray:
    """Stored, averaged and spanned tokens of a sequence, (3, tokens) bool."""
    length = len(one.ids)
    first, last = 0, length
    if reading.format == "chat" and reading.read != "all":
        first, last = one.body if reading.read == "text" else (one.body[1], length)
    index = np.arange(length)
    kept = model.tokens.counted(one.ids) & (index >= first) & (index < last)
    inside = np.zeros(length, dtype=bool)
    if spans and one.characters is not None:
        covered = np.asarray(one.characters)
        for begin, end in spans:
            inside |= (covered[:, 0] < end) & (covered[:, 1] > begin)
    return np.stack([kept, kept & (index >= first + reading.first), kept & inside])


def _spans(row: dict[str, object]) -> list[tuple[int, int]]:
    return read_spans(row["span"], str(row["text"]), name=str(row["id"]))


def _covered(one: Rendered) -> list[tuple[int, int]] | None:
    """Of a piece, the characters of its body."""
    if one.part is None or one.characters is None:
        return None
    inner = one.characters[one.body[0] : one.body[1]]
    return [(inner[0][0], inner[-1][1])]


def _frame(corpus: Corpus, sequences: list[Rendered], lengths: np.ndarray) -> pd.DataFrame:
    frame = corpus.frame
    if any(one.part is not None for one in sequences):
        frame = frame.iloc[[one.row for one in sequences]].reset_index(drop=True)
        parts = [-1 if one.part is None else one.part for one in sequences]
        names = [name if part < 0 else f"{name}/{part}" for name, part in zip(frame["id"], parts, strict=True)]
        texts = [
            text if one.characters is None else text[slice(*one.characters[0])]
            for text, one in zip(frame["text"], sequences, strict=True)
        ]
        frame = frame.assign(
            id=pd.array(names, dtype="str"), text=pd.array(texts, dtype="str"), part=np.maximum(parts, 0)
        )
        if frame["id"].duplicated().any():
            twice = frame["id"][frame["id"].duplicated()].iloc[0]
            raise CorpusError(
                f"a piece of a split text would be called '{twice}', as a text of {corpus.name} is; rename it"
            )
    return frame.assign(n_tokens=lengths.tolist())


def _check(texts: Texts, name: str, model: Model, reading: Reading, pools: tuple[str, ...]) -> None:
    lengths = texts.lengths
    long = np.flatnonzero(lengths > model.context)
    if len(long):
        raise CorpusError(
            f"text '{texts.frame['id'].iloc[long[0]]}' of {name} has {lengths[long[0]]} tokens; {model.name} reads at "
            f"most {model.context}{_others(len(long))}: split or truncate it (long='split', --long split)"
        )
    averaged = "mean" in pools or "max" in pools
    needed = {"pool": texts.averaged if averaged else texts.kept}
    if "span" in pools:
        needed["span"] = texts.spanned
    for what, mask in needed.items():
        empty = np.flatnonzero(np.add.reduceat(mask, texts.start[:-1]) == 0)
        if len(empty):
            row = empty[0]
            skipped = max(reading.first, 1) if averaged and what == "pool" else 1
            told = f"the first {skipped} and special ones are not used" if what == "pool" else "none lies in its span"
            raise CorpusError(
                f"text '{texts.frame['id'].iloc[row]}' of {name} has no token left to {what}: {lengths[row]} tokens, "
                f"of which {told}{_others(len(empty))}; leave it out{' or lower the offset' if what == 'pool' else ''}"
            )
    if not texts.averaged.any():
        raise CorpusError(
            f"no text of {name} has a token from the {reading.first}th on, from which the site's mean norm is taken; "
            "lower the offset"
        )


def _others(count: int) -> str:
    return f" (and {count - 1} more texts)" if count > 1 else ""
