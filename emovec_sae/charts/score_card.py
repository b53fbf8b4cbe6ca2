"""The score card: the headline numbers of a model's emotion directions, each beside its null."""

from __future__ import annotations

import altair as alt
import pandas as pd

from emovec_sae.charts.frames import require
from emovec_sae.charts.score_dots import caption as told_of
from emovec_sae.charts.score_dots import score_dots

COLUMNS = ("title", "number", "value", "low", "high", "null", "n", "headline")
"""One row a number; `title` names its check, and only rows with `headline` are drawn."""


def score_card(frame: pd.DataFrame, *, title: str = "Numbers beside their nulls") -> alt.VConcatChart:
    """Draw the headline numbers, a panel a check.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`.
    title
        Heading.

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty.
    """
    return score_dots(_heads(frame), title=title, x_title="value, in the unit of its number")


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    return f"{told_of(_heads(frame))} Checks differ in what they count, so that their values are not to be ranked."


def _heads(frame: pd.DataFrame) -> pd.DataFrame:
    table = require(frame, COLUMNS, family="score_card")
    heads = table.loc[table["headline"].astype(bool), list(COLUMNS[:-1])].rename(columns={"title": "check"})
    return require(heads, (), family="score_card")
