"""ScoreCard: the numbers of every check of one model, as one tidy table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from emovec_sae.directions.checks.result import NUMBERS
from emovec_sae.directions.evaluation import records
from emovec_sae.errors import StoreError
from emovec_sae.provenance import read_json, write_json

if TYPE_CHECKING:
    import altair as alt

COLUMNS = ("check", "title", *NUMBERS, "site", "estimator", "readout", "position", "seed", "headline")
"""Columns of a card's table; `headline` marks the numbers that are drawn and quoted."""

FORMAT, VERSION = "emovec-scorecard", "1"


@dataclass(frozen=True, eq=False, repr=False)
class ScoreCard:
    """A model's score card.

    Attributes
    ----------
    model
        Name, fingerprint, dtype, n_layers, d_model.
    table
        One row a number, columns of `COLUMNS`.
    variants
        The same numbers in other ways: check, variant, then the columns of a number.
    left_out
        Check -> why it does not apply.
    settings, provenance
        What decided it, and who made it from what.
    """

    model: Mapping[str, Any]
    table: pd.DataFrame
    variants: pd.DataFrame
    left_out: Mapping[str, str]
    settings: Mapping[str, Any]
    provenance: Mapping[str, Any]

    def __repr__(self) -> str:
        heads = self.table[self.table["headline"]]
        told = ", ".join(f"{row['number']} {row['value']:.2f}" for row in heads.head(4).to_dict("records"))
        return f"ScoreCard({self.model.get('name')}: {told}; {len(self.table)} numbers)"

    def frame(self) -> pd.DataFrame:
        """The table of numbers."""
        return self.table.copy()

    def plot(self) -> alt.Chart | alt.LayerChart | alt.VConcatChart | alt.HConcatChart:
        """Draw the headline numbers beside their nulls."""
        from emovec_sae.charts import draw

        return draw("score_card", self.table)

    def summary(self) -> dict[str, Any]:
        """Headline numbers for machines, by check and name."""
        found: dict[str, Any] = {}
        for row in records(self.table[self.table["headline"]]):
            told = {key: row[key] for key in ("value", "low", "high", "n", "null", "p")}
            found.setdefault(str(row["check"]), {})[str(row["number"])] = told
        return {"model": self.model.get("name"), "checks": found, "left_out": dict(self.left_out)}

    def save(self, path: str | Path) -> Path:
        """Write the card as one JSON file, atomically."""
        return write_json(
            path,
            {
                "encoding-type": FORMAT, "encoding-version": VERSION, "model": dict(self.model),
                "table": records(self.table), "variants": records(self.variants), "left_out": dict(self.left_out),
                "settings": dict(self.settings), "provenance": dict(self.provenance),
            },
        )  # fmt: skip


def load_card(path: str | Path) -> ScoreCard:
    """Read a card that `ScoreCard.save` wrote, or the ``card.json`` of a folder.

    Raises
    ------
    StoreError
        If there is no such file, or it is no score card of this version.
    """
    given = Path(path)
    file = given / "card.json" if given.is_dir() else given
    if not file.is_file():
        raise StoreError(f"there is no score card at {file}; make one with: emovec bench --model NAME --out FOLDER")
    try:
        told = read_json(file)
    except ValueError as error:
        raise StoreError(f"{file} is no JSON: {error}") from error
    if not isinstance(told, dict) or (told.get("encoding-type"), told.get("encoding-version")) != (FORMAT, VERSION):
        raise StoreError(f"{file} is no score card of version {VERSION}")
    return ScoreCard(
        model=told["model"],
        table=_numeric(pd.DataFrame(told["table"], columns=list(COLUMNS))),
        variants=_numeric(pd.DataFrame(told["variants"], columns=["check", "variant", *NUMBERS])),
        left_out=told["left_out"],
        settings=told["settings"],
        provenance=told["provenance"],
    )


def _numeric(table: pd.DataFrame) -> pd.DataFrame:
    names = ["value", "low", "high", "null", "p"]
    return table.assign(**{name: pd.to_numeric(table[name]) for name in names})
