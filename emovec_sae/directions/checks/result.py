"""Check: the result of one test of a direction set, in the form that all of them share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from emovec_sae.directions.evaluation import records
from emovec_sae.provenance import write_json

if TYPE_CHECKING:
    import altair as alt

NUMBERS = ("number", "value", "low", "high", "n", "null", "p", "note")
"""Columns of `Check.numbers`: what it is, value, interval, n, what chance or the null gives, p, how it was made."""


@dataclass(frozen=True, eq=False, repr=False)
class Check:
    """A test of directions: a few numbers that stand for it, and the table that they were made of.

    Attributes
    ----------
    numbers
        One row a number: number, value, low, high, n, null (mean of the null, or chance), p, note; NaN where there is
        none.
    table
        What `frame` gives and `plot` draws.
    variants
        The same numbers in other ways (readout, reading position, reference): a column `variant`, then those of
        `numbers`. They say which conclusions hang on the choice.
    settings
        Readout, reading position, site, seed: what a reader needs to repeat it.
    provenance
        Who made it, from what.
    """

    title: ClassVar[str] = ""
    """The question, as a heading."""

    numbers: pd.DataFrame
    table: pd.DataFrame
    variants: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["variant", *NUMBERS]))
    settings: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        told = "; ".join(_sentence(row) for row in self.numbers.to_dict("records")[:3])
        return f"{type(self).__name__}({told})"

    def frame(self) -> pd.DataFrame:
        """The table behind the numbers."""
        return self.table.copy()

    def plot(self) -> alt.Chart | alt.LayerChart | alt.VConcatChart | alt.HConcatChart:
        """Draw `frame`."""
        raise NotImplementedError

    def caption(self) -> str:
        """The question and its first answer, for below the figure."""
        return f"{self.title} {_sentence(self.numbers.to_dict('records')[0])}."

    def summary(self) -> dict[str, Any]:
        """The numbers for machines, by name, and the settings."""
        rows = {str(row.pop("number")): row for row in records(self.numbers)}
        return {"numbers": rows, "settings": dict(self.settings)}

    def save(self, path: str | Path) -> Path:
        """Write numbers, table, settings and provenance as one JSON file, atomically."""
        told = {"check": type(self).__name__, "title": self.title, **self.summary(), "table": records(self.table)}
        told |= {"variants": records(self.variants), "provenance": dict(self.provenance)}
        return write_json(path, told)


def number(
    name: str,
    value: float,
    *,
    low: float = np.nan,
    high: float = np.nan,
    n: int,
    null: float = np.nan,
    p: float = np.nan,
    note: str = "",
) -> dict[str, Any]:
    """One row of `Check.numbers`."""
    return dict(zip(NUMBERS, (name, value, low, high, n, null, p, note), strict=True))


def numbers(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The table of `Check.numbers`."""
    return pd.DataFrame(list(rows), columns=list(NUMBERS))


def _sentence(row: Mapping[Any, Any]) -> str:
    null = "" if np.isnan(row["null"]) else f", null {row['null']:.2f}"
    return f"{row['number']} {row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]{null}, n = {row['n']}"
