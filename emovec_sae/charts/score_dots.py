"""Score dots: a number a line with its interval, beside what its null gives."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from emovec_sae.charts import theme
from emovec_sae.charts.frames import heading, require, rows, signed, span
from emovec_sae.charts.labels import text_width

COLUMNS = ("check", "number", "value", "low", "high", "null", "n")
"""One row a number; `check` groups them, `null` is the mean of the null or chance. NaN where there is none."""

_WIDTH, _LINE, _CLOSE, _MANY, _LONGEST, _FONT = 300, 19, 16, 30, 46, 10
"""Width of the plot; height of a line, and where there are so many of them; letters of a name, and their size."""


def score_dots(
    frame: pd.DataFrame, *, title: str = "Numbers beside their nulls", x_title: str = "value"
) -> alt.VConcatChart:
    """Draw the numbers, a panel a check, on one common scale.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`.
    title
        Heading.
    x_title
        What the numbers are, with their unit.

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty.
    """
    table = require(frame, COLUMNS, family="score_dots")
    narrow = theme.page() <= 500
    table = table.assign(
        label=[_short(str(name)) for name in table["number"]],
        text=[_text(row, brief=narrow) for row in _dicts(table)],
    )
    names = min(max(text_width(name, _FONT) for name in table["label"]) + 6, 0.36 * theme.page())
    wide = theme.room(_WIDTH, beside=round(names + max(text_width(one, _FONT) for one in table["text"])) + 34)
    domain = _domain(table)
    line = _LINE if len(table) <= _MANY else _CLOSE
    checks = table["check"].nunique()
    panels = [_panel(part, str(name), domain, (wide, line, names), title=x_title if number == checks - 1 else None)
              for number, (name, part) in enumerate(table.groupby("check", sort=False))]  # fmt: skip
    known = table["low"].notna().any()
    dots = "dot: value with its 95 % interval" if known else "dot: value"
    said = f"value{', interval' if known else ''}, n" if not narrow else f"value; n = {span(table['n'])}"
    told = heading(title, f"{dots}; tick: null or chance; at the right: {said}")
    return theme.dress(alt.vconcat(*panels, spacing=10).properties(title=told))


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="score_dots")
    known = table.dropna(subset=["low", "high", "null"])
    above = int((known["low"] > known["null"]).sum())
    return (
        f"{len(table)} numbers of {table['check'].nunique()} checks (n = {span(table['n'])}). Of the {len(known)} with "
        f"an interval and a null, {above} lie above their null with the whole interval (95 %, not corrected for their "
        "number)."
    )


def _panel(
    part: pd.DataFrame, name: str, domain: list[float], room: tuple[int, int, float], *, title: str | None
) -> alt.LayerChart:
    order, (wide, line, names), last = list(part["label"]), room, title is not None
    axis = alt.Axis(title=title, labels=last, ticks=last, tickCount=max(2, wide // 50), grid=True, format=".2~f")
    x = alt.X("value:Q", scale=alt.Scale(domain=domain, nice=False), axis=axis)
    y = alt.Y(
        "label:N",
        sort=order,
        title=None,
        axis=alt.Axis(labelLimit=names, minExtent=names, ticks=False, domain=False, grid=False),
    )
    base = alt.Chart(rows(part[["label", "number", "value", "low", "high", "null", "n", "text"]]))
    bars = base.transform_filter("isValid(datum.low)").mark_rule(color=theme.NEGATIVE, strokeWidth=2)
    nulls = base.transform_filter("isValid(datum.null)").mark_tick(color=theme.POSITIVE, thickness=2.2, size=13)
    words = base.mark_text(align="left", dx=10, fontSize=9.5, color=theme.MUTED)
    layers = [
        nulls.encode(x=alt.X("null:Q"), y=y),
        bars.encode(x=alt.X("low:Q"), x2="high:Q", y=y),
        base.transform_filter("isValid(datum.value)")
        .mark_point(filled=True, size=46, color=theme.NEGATIVE, opacity=1)
        .encode(x=x, y=y, tooltip=["number:N", "value:Q", "low:Q", "high:Q", "null:Q", "n:Q"]),
        words.encode(x=alt.value(wide), y=y, text="text:N"),
    ]
    head = alt.Title(text=name, fontSize=11, anchor="start", frame="group", offset=4)
    return alt.LayerChart(layer=layers).properties(width=wide, height=line * len(order), title=head)


def _domain(table: pd.DataFrame) -> list[float]:
    ends = table[["value", "low", "high", "null"]].to_numpy(dtype=float)
    low, high = float(np.nanmin(ends, initial=0.0)), float(np.nanmax(ends, initial=1.0))
    return [min(-0.02, low - 0.02), max(1.02, high + 0.02)]


def _dicts(table: pd.DataFrame) -> list[dict[str, float]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _text(row: dict[str, float], *, brief: bool) -> str:
    if np.isnan(row["value"]):
        return "no value" if brief else f"no value, n = {row['n']}"
    if brief:
        return signed(row["value"])
    ends = "" if np.isnan(row["low"]) or np.isnan(row["high"]) else f" ({signed(row['low'])} to {signed(row['high'])})"
    count = "" if np.isnan(row["n"]) else f", n = {int(row['n']):,}"
    return f"{signed(row['value'])}{ends}{count}"


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}\u2026"
