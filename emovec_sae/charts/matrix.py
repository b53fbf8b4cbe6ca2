"""A matrix of numbers as a heat map, the numbers in the cells where there is room."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from emovec_sae.charts import theme
from emovec_sae.charts.frames import heading, interval, largest, require, rows, signed, span
from emovec_sae.charts.labels import text_width

COLUMNS = ("row", "column", "value", "low", "high", "n", "row_order", "column_order")
"""One row a cell; the orders count from 0. `low` and `high` may be NaN."""

MOST_WRITTEN = 14
"""Above this many columns the numbers do not fit into the cells and are left out."""

_NAMES, _NARROW, _ROOM = 240, 500, 26


def matrix(
    frame: pd.DataFrame, *, title: str = "", legend: str = "value", diverging: bool = False, subtitle: str = ""
) -> alt.LayerChart:
    """Draw the heat map.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`.
    title, subtitle
        Heading; the numbers of cases are added.
    legend
        What a value is, with its unit.
    diverging
        Whether values lie around 0; otherwise the scale runs from the smallest (or 0) to the largest.

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty.
    """
    table = require(frame, COLUMNS, family="matrix")
    count = table["column"].nunique()
    written = count <= MOST_WRITTEN
    names = max(text_width(str(name), 10) for name in table["row"].unique())
    beside = round(min(names, _NAMES)) + 20
    across = theme.page() > _NARROW
    cell = 46 if written else 24 if count <= 26 else 16
    cell = max(theme.room(cell * count, beside=beside + (110 if across else 0)) // count, 5)
    written = written and cell >= _ROOM
    low, high = _ends(table["value"], diverging=diverging)
    table = table.assign(
        text=[signed(value) for value in table["value"]], strong=_strong(table["value"], low, high, diverging=diverging)
    )
    colours = list(theme.DIVERGING if diverging else theme.SEQUENTIAL)
    colour = alt.Color(
        "value:Q",
        scale=alt.Scale(domain=[low, high], range=colours, interpolate="lab", clamp=True),
        legend=alt.Legend(
            orient="right" if across else "top",
            title=legend,
            gradientLength=min(180, max(60, cell * count)),
            format=".2f",
            tickCount=4,
        ),
    )
    widest = max(text_width(str(name), _letters(cell)) for name in table["column"].unique())
    angle = -90 if widest > cell - 4 else 0
    base = alt.Chart(rows(table)).encode(
        x=alt.X("column:N", sort=_order(table, "column"), axis=_axis(angle, cell)),
        y=alt.Y("row:N", sort=_order(table, "row"), axis=_axis(0, cell)),
        tooltip=["row:N", "column:N", "value:Q", "low:Q", "high:Q", "n:Q"],
    )
    layers = [base.mark_rect(stroke=theme.BACK, strokeWidth=1).encode(color=colour)]
    if written:
        light = alt.condition("datum.strong", alt.value("#ffffff"), alt.value(theme.INK))
        layers.append(base.mark_text(fontSize=10.5).encode(text="text:N", color=light))
    told = heading(title, subtitle, f"n = {span(table['n'])} a cell")
    size = {"width": cell * count, "height": cell * table["row"].nunique()}
    return theme.dress(alt.LayerChart(layer=layers).properties(title=told, **size))


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="matrix")
    most, least = largest(table, table["value"]), largest(table, -table["value"])
    return (
        f"{table['row'].nunique()} rows by {table['column'].nunique()} columns, n = {span(table['n'])} a cell. "
        "Highest: "
        f"{most['row']}, {most['column']} ({signed(most['value'])}, {interval(most['low'], most['high'])}); lowest: "
        f"{least['row']}, {least['column']} ({signed(least['value'])}, {interval(least['low'], least['high'])})."
    )


def _ends(values: pd.Series, *, diverging: bool) -> tuple[float, float]:
    known = values.to_numpy(dtype=float)
    low, high = float(np.nanmin(known)), float(np.nanmax(known))
    if diverging:
        reach = max(abs(low), abs(high), 1e-9)
        return -reach, reach
    return min(low, 0.0), max(high, low + 1e-9)


def _strong(values: pd.Series, low: float, high: float, *, diverging: bool) -> pd.Series:
    """Which cells are so dark that numbers on them must be white."""
    if diverging:
        return values < theme.WHITE_BELOW * high
    return values > low + theme.INK_TO * (high - low)


def _axis(angle: int, cell: int) -> alt.Axis:
    return alt.Axis(
        title=None,
        labelAngle=angle,
        domain=False,
        ticks=False,
        labelOverlap=False,
        labelFontSize=_letters(cell),
        labelLimit=_NAMES,
    )


def _letters(cell: int) -> float:
    return 10 if cell > 20 else max(5.5, min(8.5, cell))


def _order(table: pd.DataFrame, side: str) -> list[str]:
    return [str(name) for name in table.sort_values(f"{side}_order")[side].unique()]
