"""Curves with bands: measures over a number, each named at its right end."""

from __future__ import annotations

import altair as alt
import pandas as pd

from emovec_sae.charts import theme
from emovec_sae.charts.frames import heading, interval, require, rows, signed, span
from emovec_sae.charts.labels import spread

COLUMNS = ("series", "x", "value", "low", "high", "n", "null")
"""One row a (series, x); `null` is drawn as a dashed line, NaN where there is none."""

_WIDTH, _HEIGHT = 430, 280
_STYLES = (
    ("#2b5597", (1, 0), "circle"),
    ("#d9770c", (7, 2), "square"),
    ("#1d9a82", (4, 2), "triangle-up"),
    ("#b5568f", (1, 2), "diamond"),
    ("#5f4b8b", (9, 2, 2, 2), "cross"),
    ("#54585f", (2, 2), "stroke"),
)


def curves(
    frame: pd.DataFrame, *, x_title: str, y_title: str, title: str, subtitle: str = "", log_x: bool = False
) -> alt.LayerChart:
    """Draw the curves.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`, at most six series.
    x_title, y_title, title, subtitle
        Words, with units.
    log_x
        Whether the horizontal scale is logarithmic.

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty.
    """
    table = require(frame, COLUMNS, family="curves")
    names = list(dict.fromkeys(table["series"].astype(str)))[: len(_STYLES)]
    known = table[["value", "low", "high", "null"]].to_numpy(dtype=float)
    bounds = pd.Series(known.ravel()).dropna()
    low, high = min(0.0, float(bounds.min())), float(bounds.max())
    high = 1.0 if 0.6 < high <= 1.0 else high * 1.05
    scale = alt.Scale(type="log" if log_x else "linear", nice=False, padding=10)
    whole = bool((table["x"].astype(float) % 1 == 0).all())
    axis = alt.Axis(grid=False, tickMinStep=1, format="d") if whole else alt.Axis(grid=False, format="~g")
    x = alt.X("x:Q", title=x_title, scale=scale, axis=axis)
    y = alt.Y("value:Q", title=y_title, scale=alt.Scale(domain=[low, high]))
    layers: list[alt.Chart] = []
    for name, style in zip(names, _STYLES, strict=False):
        layers += _curve(table[table["series"] == name].sort_values("x"), style, x, y)
    layers += _names(table, names, low, high)
    told = heading(title, subtitle, f"bands: 95 % intervals; n = {span(table['n'])}")
    return theme.dress(alt.LayerChart(layer=[*layers]).properties(width=_WIDTH, height=_HEIGHT, title=told))


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="curves")
    parts = []
    for name, group in table.groupby("series", sort=False):
        last = group.sort_values("x").iloc[-1]
        ends = interval(float(last["low"]), float(last["high"]))
        parts.append(f"{name} {signed(float(last['value']))} ({ends}) at {last['x']:g}")
    return f"At the right ends: {'; '.join(parts)} (n = {span(table['n'])})."


def _curve(group: pd.DataFrame, style: tuple[str, tuple[int, ...], str], x: alt.X, y: alt.Y) -> list[alt.Chart]:
    colour, dash, shape = style
    base = alt.Chart(rows(group)).encode(x=x)
    tips = ["series:N", "x:Q", "value:Q", "low:Q", "high:Q", "n:Q"]
    return [
        base.transform_filter("isValid(datum.low)")
        .mark_area(color=colour, opacity=0.16, aria=False)
        .encode(y=alt.Y("low:Q"), y2="high:Q"),
        base.transform_filter("isValid(datum.null)")
        .mark_line(color=colour, strokeDash=[2, 3], strokeWidth=1, opacity=0.8)
        .encode(y=alt.Y("null:Q")),
        base.mark_line(color=colour, strokeDash=list(dash), strokeWidth=1.8).encode(y=y),
        base.mark_point(color=colour, shape=shape, filled=True, size=34, opacity=1).encode(y=y, tooltip=tips),
    ]


def _names(table: pd.DataFrame, names: list[str], low: float, high: float) -> list[alt.Chart]:
    """Names at the right, where each line ends, pushed apart; a line that ends earlier is named at its end's height."""
    last = [table[table["series"] == name].sort_values("x").iloc[-1] for name in names]
    places = spread([float(row["value"]) for row in last], gap=14 * (high - low) / _HEIGHT, low=low, high=high)
    found = []
    for name, place, (colour, _, _) in zip(names, places, _STYLES, strict=False):
        mark = alt.Chart(rows(pd.DataFrame({"text": [name], "value": [place]})))
        found.append(
            mark.mark_text(align="left", dx=8, color=colour, fontWeight="bold", clip=False).encode(
                x=alt.value(_WIDTH), y=alt.Y("value:Q"), text="text:N"
            )
        )
    return found
