"""A table as it stands in a file: rows of raw values, and where each of them stands."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from emovec_sae.errors import CorpusError, suggest


@dataclass(frozen=True)
class Table:
    """Rows of raw values with their places, so that an error can name file, line and column.

    Attributes
    ----------
    source
        The file, as messages name it.
    columns
        Names of all columns, in the order in which they were met.
    rows
        One mapping a row; a row may lack a column.
    lines
        Where each row begins, counted from 1.
    unit
        What `lines` counts: ``"line"`` of a text file or ``"row"`` of a table.
    """

    source: str
    columns: tuple[str, ...]
    rows: Sequence[dict[str, Any]]
    lines: Sequence[int]
    unit: str = "line"

    def at(self, row: int, column: str | None = None) -> str:
        """Name a place: ``stories.jsonl, line 3, column 'text'``."""
        place = f"{self.source}, {self.unit} {self.lines[row]}"
        return place if column is None else f"{place}, column '{column}'"

    def require(self, columns: Iterable[str]) -> None:
        """Refuse a table that has no rows or lacks one of the columns.

        Raises
        ------
        CorpusError
            With the columns that there are, and the nearest name.
        """
        if not self.rows:
            raise CorpusError(f"{self.source} is empty: it holds no {self.unit}s; at least one is needed")
        for column in columns:
            if column not in self.columns:
                raise CorpusError(
                    f"{self.source} has no column '{column}'{suggest(column, self.columns)}; "
                    f"its columns are {', '.join(self.columns)}"
                )

    def texts(self, column: str) -> list[str]:
        """Read a column that must hold a text in every row; texts are kept to the letter.

        Raises
        ------
        CorpusError
            If a value is missing, not a string, blank, or cannot be stored.
        """
        return [self._text(row, column) for row in range(len(self.rows))]

    def labels(self, column: str) -> list[str | None]:
        """Read a column of short names: outer spaces are cut, whole numbers become strings, blanks become None.

        Raises
        ------
        CorpusError
            If a value is neither a string nor a whole number.
        """
        return [self._label(row, column) for row in range(len(self.rows))]

    def identifiers(self, column: str = "id") -> list[str]:
        """Read a column of names that differ; without the column, rows are named ``text-00001`` and on.

        Raises
        ------
        CorpusError
            If a name is missing or stands twice.
        """
        if column not in self.columns:
            return [f"text-{number:05d}" for number in range(1, len(self.rows) + 1)]
        first: dict[str, int] = {}
        for row, name in enumerate(self.labels(column)):
            if name is None:
                raise CorpusError(f"{self.at(row, column)} is empty; give every row an id, or leave the column out")
            if name in first:
                raise CorpusError(
                    f"{self.at(row, column)}: '{name}' already stands in {self.unit} {self.lines[first[name]]}; "
                    f"ids must differ"
                )
            first[name] = row
        return list(first)

    def _text(self, row: int, column: str) -> str:
        value = self.rows[row].get(column)
        if missing(value):
            raise CorpusError(f"{self.at(row, column)} is missing; every row needs a text there")
        if not isinstance(value, str):
            raise CorpusError(f"{self.at(row, column)} holds {_what(value)}; it should be a string")
        if not value.strip():
            raise CorpusError(f"{self.at(row, column)} is empty; every row needs a text there")
        return self._storable(value, row, column)

    def _label(self, row: int, column: str) -> str | None:
        value = self.rows[row].get(column)
        if missing(value):
            return None
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise CorpusError(f"{self.at(row, column)} holds {_what(value)}; it should be a string")
        return self._storable(value.strip(), row, column) or None

    def _storable(self, value: str, row: int, column: str) -> str:
        """HDF5 ends a string at a NUL, and UTF-8 has no code for half a surrogate pair."""
        if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise CorpusError(f"{self.at(row, column)} holds a NUL or half a surrogate pair; remove that character")
        return value


def missing(value: object) -> bool:
    """Tell whether a raw value is None or a float NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _what(value: object) -> str:
    shown = repr(value)
    return f"{shown[:40]}{'...' if len(shown) > 40 else ''} ({type(value).__name__})"
