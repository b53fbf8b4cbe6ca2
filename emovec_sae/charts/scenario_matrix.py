"""The scenario matrix: how strongly each direction is read from messages that imply each emotion."""

from __future__ import annotations

import altair as alt
import pandas as pd

from emovec_sae.charts.frames import require, signed, span
from emovec_sae.charts.matrix import matrix

COLUMNS = ("target", "read", "score", "low", "high", "n")
"""One row a (implied emotion, direction); `score` is the mean readout, n counts messages."""


def scenario_matrix(frame: pd.DataFrame, *, readout: str = "zscore") -> alt.LayerChart:
    """Draw the matrix, implied emotions as rows and directions as columns.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`.
    readout
        Name of the readout, for the legend.

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty.
    """
    table = require(frame, COLUMNS, family="scenario_matrix")
    order = {name: place for place, name in enumerate(dict.fromkeys(table["target"]))}
    cells = table.rename(columns={"target": "row", "read": "column", "score": "value"})
    return matrix(
        cells.assign(row_order=cells["row"].map(order), column_order=cells["column"].map(order)),
        title="Is the emotion that a message implies read from it?",
        legend=f"mean {readout.replace('zscore', 'z-score').replace('_', ' ')}",
        diverging=True,
        subtitle="rows: implied by the message; columns: read by the direction",
    )


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="scenario_matrix")
    own = table["target"] == table["read"]
    best = table.sort_values("score", ascending=False).drop_duplicates("target")
    first = int((best["target"] == best["read"]).sum())
    above = int((table.loc[own, "low"] > 0).sum())
    return (
        f"Mean readout of {table['read'].nunique()} directions on messages that imply {table['target'].nunique()} "
        f"emotions without naming them (n = {span(table['n'])} messages a cell). The emotion's own direction is read "
        f"most strongly of all in {first} of {len(best)} rows; on the diagonal the mean is "
        f"{signed(float(table.loc[own, 'score'].mean()))}, off it {signed(float(table.loc[~own, 'score'].mean()))}, "
        "and "
        f"{above} of {int(own.sum())} diagonal cells have a 95 % interval above 0. A high cell says that a reader "
        "could tell, not that the model uses it."
    )
