"""Curves with bands: measures over a number, each named at its right end."""

from __future__ import annotations

import altair as alt
import pandas as pd

from emovec_sae.charts import theme
from emovec_sae.charts.frames import heading, interval, require, rows, signed, span
from emovec_sae.charts.labels import spread, text_width

COLUMNS = ("series", "x", "value", "low", "high", "n", "null")
"""One row a (series, x); `null` is drawn as a dotted line, NaN where there is none."""

PICK = "series"
_WIDTH, _HEIGHT = 430, 280


def curves(
    frame: pd.DataFrame,
    *,
    x_title: str = "x",
    y_title: str = "value",
    title: str = "",
    subtitle: str = "",
    log_x: bool = False,
) -> alt.LayerChart:
    """Draw the curves.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`, at most eight series.
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
    panel = curve_panel(table, x_title=x_title, y_title=y_title, log_x=log_x)
    told = heading(title, subtitle, f"bands: 95 % intervals; n = {span(table['n'])}")
    return theme.dress(panel.properties(title=told))


def curve_panel(
    table: pd.DataFrame,
    *,
    x_title: str,
    y_title: str,
    log_x: bool = False,
    size: tuple[int, int] = (_WIDTH, _HEIGHT),
    page: int | None = None,
) -> alt.LayerChart:
    """One panel of curves without a heading, for `curves` and for families with several.

    Parameters
    ----------
    table
        Columns of `COLUMNS`.
    x_title, y_title, log_x
        As for `curves`.
    size
        Width and height in pixels where there is room for them.
    page
        Pixels that axis, plot and names may take; None means the page.
    """
    names = list(dict.fromkeys(table["series"].astype(str)))[: len(theme.LINES)]
    known = table[["value", "low", "high", "null"]].to_numpy(dtype=float)
    bounds = pd.Series(known.ravel()).dropna()
    low, high = min(0.0, float(bounds.min())), float(bounds.max())
    high = 1.0 if 0.6 < high <= 1.0 else high * 1.05
    scale = alt.Scale(type="log" if log_x else "linear", nice=False, padding=10)
    whole = bool((table["x"].astype(float) % 1 == 0).all())
    # On a logarithmic axis the numbers that were measured are the ones to read.
    values = sorted(set(table["x"].astype(float))) if log_x else alt.Undefined
    axis = alt.Axis(
        grid=False,
        values=values,
        labelOverlap="greedy",
        tickMinStep=1 if whole else alt.Undefined,
        format="d" if whole else ".3~g",
    )
    x = alt.X("x:Q", title=x_title, scale=scale, axis=axis)
    y = alt.Y("value:Q", title=y_title, scale=alt.Scale(domain=[low, high]))
    layers: list[alt.Chart] = []
    for name, style in zip(names, theme.LINES, strict=False):
        layers += _curve(table[table["series"] == name].sort_values("x"), style, x, y)
    beside = 72 + round(max(text_width(name, 11) for name in names)) + (0 if page is None else theme.page() - page)
    wide = theme.room(size[0], beside=beside)
    layers += _names(table, names, low, high, (wide, size[1]))
    return alt.LayerChart(layer=[*layers]).properties(width=wide, height=size[1])


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="curves")
    parts = []
    for name, group in table.groupby("series", sort=False):
        last = group.sort_values("x").iloc[-1]
        ends = interval(float(last["low"]), float(last["high"]))
        parts.append(f"{name} {signed(float(last['value']))} ({ends}) at {last['x']:g}")
    return (
        f"At the right ends: {'; '.join(parts)} (n = {span(table['n'])}; 95 % intervals in brackets). Intervals are of "
        "each point by itself; lines join points that were measured."
    )


def _curve(group: pd.DataFrame, style: tuple[str, tuple[int, ...], str], x: alt.X, y: alt.Y) -> list[alt.Chart]:
    colour, dash, shape = style
    base = alt.Chart(rows(group)).encode(x=x)
    sure = base.transform_filter("isValid(datum.low)")
    # A band needs two points to have a width; whiskers carry the interval of a single one.
    alone = int(group["low"].notna().sum()) == 1
    within = sure.mark_rule(color=colour) if alone else sure.mark_area(color=colour, opacity=0.16, aria=False)
    chance = base.transform_filter("isValid(datum.null)").mark_line(
        color=colour, strokeDash=[2, 3], strokeWidth=1, opacity=0.8
    )
    tips = ["series:N", "x:Q", "value:Q", "low:Q", "high:Q", "n:Q"]
    # A layer without rows has no ends to scale by: it is left out.
    return [
        *([within.encode(y=alt.Y("low:Q"), y2="high:Q")] if group["low"].notna().any() else []),
        *([chance.encode(y=alt.Y("null:Q"))] if group["null"].notna().any() else []),
        base.mark_line(color=colour, strokeDash=list(dash), strokeWidth=1.8).encode(y=y),
        base.mark_point(color=colour, shape=shape, filled=True, size=34, opacity=1).encode(y=y, tooltip=tips),
    ]


def _names(table: pd.DataFrame, names: list[str], low: float, high: float, plot: tuple[int, int]) -> list[alt.Chart]:
    """Names at the right, where each line ends, pushed apart; a line that ends earlier is named at its end's height."""
    last = [table[table["series"] == name].sort_values("x").iloc[-1] for name in names]
    places = spread([float(row["value"]) for row in last], gap=14 * (high - low) / plot[1], low=low, high=high)
    found = []
    for name, place, (colour, _, _) in zip(names, places, theme.LINES, strict=False):
        mark = alt.Chart(rows(pd.DataFrame({"text": [name], "value": [place]})))
        found.append(
            mark.mark_text(align="left", dx=8, color=theme.letters(colour), fontWeight="bold", clip=False).encode(
                x=alt.value(plot[0]), y=alt.Y("value:Q"), text="text:N"
            )
        )
    return found
