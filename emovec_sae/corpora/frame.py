"""Corpus: texts with emotion, group, split and language as one tidy, validated frame."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from emovec_sae.corpora.emotions import load_emotions
from emovec_sae.corpora.table import Table, missing
from emovec_sae.errors import CorpusError, suggest
from emovec_sae.provenance import digest

COLUMNS = ("id", "text", "emotion", "group", "split", "lang")
"""The columns that every corpus frame begins with."""


@dataclass(frozen=True, eq=False, repr=False)
class Corpus:
    """Texts and what is known about each.

    Attributes
    ----------
    frame
        One row a text with a RangeIndex; columns `id`, `text`, `emotion`, `group`, `split`, `lang` (strings; all but
        `id`, `text`, `group` and `lang` may be missing), then what else the file had. `group` is what must never be
        divided between training and test; a text without one is its own group.
    name
        What the corpus is called in reports.
    path
        The file that it was read from, or None.
    fingerprint
        SHA-256 of the six columns in the order of the rows: the same texts agree whatever file format they came in.
    """

    frame: pd.DataFrame
    name: str
    path: Path | None = None
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        lacking = [column for column in COLUMNS if column not in self.frame]
        if lacking:
            raise CorpusError(f"a corpus frame needs the column '{lacking[0]}'; make one with Corpus.from_frame")
        object.__setattr__(self, "fingerprint", _fingerprint(self.frame))

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, *, name: str = "frame") -> Corpus:
        """Make a corpus of a frame in memory that has at least a column `text`.

        Raises
        ------
        CorpusError
            As for a file: no column `text`, no rows, blank texts, ids that stand twice.
        """
        plain = frame.astype(object).where(frame.notna(), None)
        rows: list[dict[str, Any]] = [
            {str(column): value for column, value in row.items()} for row in plain.to_dict("records")
        ]
        columns = tuple(str(column) for column in frame.columns)
        return from_table(Table(name, columns, rows, range(1, len(rows) + 1), unit="row"), name=name)

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        emotions, groups = len(self.emotions), len(self.groups)
        langs = ", ".join(sorted(set(self.frame["lang"])))
        told = f"{emotions} emotions" if emotions else "no emotions"
        return f"Corpus '{self.name}': {len(self)} texts, {told}, {groups} groups, {langs}; {self.fingerprint[:12]}"

    @property
    def emotions(self) -> tuple[str, ...]:
        """The emotions, in the order in which they first occur."""
        return tuple(self.frame["emotion"].dropna().unique())

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups, in the order in which they first occur."""
        return tuple(self.frame["group"].unique())

    def head(self, count: int) -> Corpus:
        """Keep the first `count` texts.

        Raises
        ------
        CorpusError
            If that leaves nothing.
        """
        if count < 1:
            raise CorpusError(f"the first {count} texts of '{self.name}' are none; keep at least 1")
        return Corpus(self.frame.head(count).reset_index(drop=True), self.name, self.path)

    def select(
        self, *, emotions: str | Iterable[str] | None = None, groups: str | Iterable[str] | None = None
    ) -> Corpus:
        """Keep the texts of some emotions and groups, in the order in which they stand.

        Parameters
        ----------
        emotions
            ``"core"`` for those of the 24 core emotions that occur here; or names, as a list or with commas between.
        groups
            ``"demo"`` for those of the eight demo topics that occur here; or names, as a list or with commas between.

        Raises
        ------
        CorpusError
            If a name does not occur in this corpus, or nothing is left.
        """
        known = load_emotions()
        keep = np.ones(len(self), dtype=bool)
        if emotions is not None:
            keep &= self._chosen("emotion", emotions, {"core": known.core})
        if groups is not None:
            keep &= self._chosen("group", groups, {"demo": known.demo_topics})
        if not keep.any():
            raise CorpusError(f"no text of corpus '{self.name}' has emotions={emotions!r} and groups={groups!r}")
        return Corpus(self.frame[keep].reset_index(drop=True), self.name, self.path)

    def _chosen(self, column: str, wanted: str | Iterable[str], sets: dict[str, tuple[str, ...]]) -> np.ndarray:
        present = list(self.frame[column].dropna().unique())
        if isinstance(wanted, str) and wanted in sets and wanted not in present:
            names = [name for name in sets[wanted] if name in present]
            if not names:
                raise CorpusError(f"corpus '{self.name}' has no text of the '{wanted}' {column}s")
        else:
            names = [part.strip() for part in wanted.split(",")] if isinstance(wanted, str) else list(wanted)
        for name in names:
            if name not in present:
                there = ", ".join(present[:30]) + (f", ... ({len(present)})" if len(present) > 30 else "")
                raise CorpusError(
                    f"unknown {column} '{name}'{suggest(name, present)}; corpus '{self.name}' has {there or 'none'}"
                )
        return self.frame[column].isin(names).to_numpy()


def from_table(table: Table, *, name: str, path: Path | None = None) -> Corpus:
    """Validate the rows of a file and lay them out as a corpus.

    A column `topic` serves as `group` where there is none of that name.

    Raises
    ------
    CorpusError
        If there is no column `text`, no row, a blank or unreadable value, or an id that stands twice.
    """
    table.require(["text"])
    source = {column: column for column in COLUMNS if column in table.columns}
    if "group" not in source and "topic" in table.columns:
        source["group"] = "topic"
    ids = table.identifiers()
    data: dict[str, Sequence[str | None]] = {"id": ids, "text": table.texts("text")}
    for column in COLUMNS[2:]:
        data[column] = table.labels(source[column]) if column in source else [None] * len(ids)
    data["group"] = [group or own for group, own in zip(data["group"], ids, strict=True)]
    data["lang"] = [lang or "en" for lang in data["lang"]]
    frame = pd.DataFrame({column: pd.array(values, dtype="str") for column, values in data.items()})
    for column in table.columns:
        if column not in source.values():
            frame[column] = _extra([row.get(column) for row in table.rows])
    return Corpus(frame, name, path)


def _extra(values: list[Any]) -> pd.Series:
    """Numbers stay numbers; a column of anything else becomes strings, nested values as JSON."""
    plain = [None if missing(value) else value for value in values]
    known = [value for value in plain if value is not None]
    if known and all(isinstance(value, bool) for value in known) and len(known) == len(plain):
        return pd.Series(plain, dtype=bool)
    if known and all(isinstance(value, int | float) and not isinstance(value, bool) for value in known):
        return pd.Series(plain, dtype=None if len(known) == len(plain) else float)
    texts = [value if value is None or isinstance(value, str) else _written(value) for value in plain]
    return pd.Series(texts, dtype="str")


def _written(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def _fingerprint(frame: pd.DataFrame) -> str:
    columns = {column: [None if missing(value) else value for value in frame[column]] for column in COLUMNS}
    return digest(columns)
