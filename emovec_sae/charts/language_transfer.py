"""Language transfer: directions fitted in one language, read in another."""

from __future__ import annotations

import altair as alt
import pandas as pd

from emovec_sae.charts.frames import interval, largest, percent, require, signed, span
from emovec_sae.charts.matrix import matrix

COLUMNS = ("fit", "read", "top1", "low", "high", "n", "null")
"""One row a (language of fitting, language of reading); `top1` and `null` (chance) are shares of texts."""


def language_transfer(frame: pd.DataFrame) -> alt.LayerChart:
    """Draw the matrix, languages of fitting as rows and of reading as columns.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`.

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty.
    """
    table = require(frame, COLUMNS, family="language_transfer")
    order = {name: place for place, name in enumerate(dict.fromkeys([*table["fit"], *table["read"]]))}
    cells = table.rename(columns={"fit": "row", "read": "column", "top1": "value"})
    return matrix(
        cells.assign(row_order=cells["row"].map(order), column_order=cells["column"].map(order)),
        title="Do directions of one language read another?",
        legend="held-out top-1 (share)",
        subtitle=f"rows: fitted on; columns: read; chance {signed(float(table['null'].mean()))}",
    )


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="language_transfer")
    same = table["fit"] == table["read"]
    text = (
        "Share of held-out texts whose emotion is read rightly, directions fitted in the language of the row and read "
        f"in that of the column (n = {span(table['n'])} texts a cell; chance {percent(float(table['null'].mean()))})."
    )
    if same.any() and not same.all():
        best = largest(table[~same], table.loc[~same, "top1"])
        clear = int((table.loc[~same, "low"] > table.loc[~same, "null"]).sum())
        text += (
            f" Within a language {percent(float(table.loc[same, 'top1'].mean()))} on average, across languages "
            f"{percent(float(table.loc[~same, 'top1'].mean()))}; best across: {best['fit']} to {best['read']} "
            f"({percent(best['top1'])}, {interval(best['low'], best['high'], 0, scale=100)} %). Of "
            f"{int((~same).sum())} "
            f"pairs of languages {clear} lie above chance with the whole 95 % interval."
        )
    return f"{text} A low cell may be the model's grasp of a language as much as the directions'."
