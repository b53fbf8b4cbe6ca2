"""Families of emotions: mean cosine within and between the families that people sort emotions into."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from emovec_sae.charts.frames import require, signed, span
from emovec_sae.charts.matrix import matrix

COLUMNS = ("family", "other", "cosine", "null_low", "null_high", "n")
"""One row an ordered pair of families; the null deals emotions out to families of the same sizes, n counts pairs."""


def families(frame: pd.DataFrame) -> alt.LayerChart:
    """Draw the matrix, a family's own emotions on the diagonal.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`.

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty.
    """
    table = require(frame, COLUMNS, family="families")
    order = {name: place for place, name in enumerate(dict.fromkeys(table["family"]))}
    cells = table.rename(columns={"family": "row", "other": "column", "cosine": "value"})
    cells = cells.assign(
        low=np.nan, high=np.nan, row_order=cells["row"].map(order), column_order=cells["column"].map(order)
    )
    return matrix(
        cells,
        title="Do emotions of one family point the same way?",
        legend="mean cosine",
        diverging=True,
        subtitle="means over pairs of emotions; the null of each cell is in the table of the figure",
    )


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="families")
    own = table["family"] == table["other"]
    above = int((table.loc[own, "cosine"] > table.loc[own, "null_high"]).sum())
    return (
        f"Mean cosine between the vectors of the emotions of {table['family'].nunique()} families (n = "
        f"{span(table['n'])} pairs a cell). Within a family {signed(float(table.loc[own, 'cosine'].mean()))} on "
        "average, "
        f"between families {signed(float(table.loc[~own, 'cosine'].mean()))}; {above} of {int(own.sum())} families lie "
        "above the 95 % of families of the same sizes dealt out at random. The families are ours, not the model\u2019s."
    )
