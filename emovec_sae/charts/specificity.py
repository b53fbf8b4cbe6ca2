"""The specificity matrix: what adding one emotion does to the words of every other."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from emovec_sae.charts.frames import require, signed, span
from emovec_sae.charts.matrix import matrix

COLUMNS = ("emotion", "scored", "effect", "n")
"""One row an (emotion added, emotion whose words are scored); `effect` in nats of log-odds, n prompts."""


def specificity(frame: pd.DataFrame, *, arm: str = "raw", level: float | None = None) -> alt.LayerChart:
    """Draw the matrix, added emotions as rows and scored words as columns.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`.
    arm, level
        The arm, and its dose in nats of KL, for the heading.

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty.
    """
    table = require(frame, COLUMNS, family="specificity")
    order = {name: place for place, name in enumerate(dict.fromkeys([*table["emotion"], *table["scored"]]))}
    cells = table.rename(columns={"emotion": "row", "scored": "column", "effect": "value"})
    cells = cells.assign(
        low=np.nan, high=np.nan, row_order=cells["row"].map(order), column_order=cells["column"].map(order)
    )
    dose = f" at {level:g} nats of KL" if level is not None else ""
    return matrix(
        cells,
        title="Does an emotion move its own words, or all of them?",
        legend="change of log-odds (nats)",
        diverging=True,
        subtitle=f"rows: added, arm \u2018{arm}\u2019{dose}; columns: words scored; means over prompts",
    )


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="specificity")
    own = table["emotion"] == table["scored"]
    best = table.sort_values("effect", ascending=False).drop_duplicates("emotion")
    first = int((best["emotion"] == best["scored"]).sum())
    return (
        f"Mean change of the log-odds of the words of {table['scored'].nunique()} emotions when one of "
        f"{table['emotion'].nunique()} is added (n = {span(table['n'])} prompts a cell, without intervals). Own words: "
        f"{signed(float(table.loc[own, 'effect'].mean()))} nats on average, others' "
        f"{signed(float(table.loc[~own, 'effect'].mean()))}; the own words move most in {first} of {len(best)} rows. "
        "The odds are against the words of all other emotions, so that what raises one row's own words lowers the rest."
    )
