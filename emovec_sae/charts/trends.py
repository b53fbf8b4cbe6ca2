"""Trends: readings of emotions over the values of a template, a panel a template."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from emovec_sae.charts import theme
from emovec_sae.charts.frames import heading, require, rows
from emovec_sae.charts.labels import spread

COLUMNS = ("template", "emotion", "expected", "step", "value", "score")
"""One row a (template, emotion, step); `expected` is up or down, `score` standardised within template and emotion."""

_WIDTH, _HEIGHT, _ACROSS, _REACH = 118, 96, 4, 2.6
_WAYS = {"up": (theme.POSITIVE, [1, 0]), "down": (theme.NEGATIVE, [4, 2])}


def trends(frame: pd.DataFrame, *, title: str, subtitle: str = "") -> alt.VConcatChart:
    """Draw the panels, four across; a line an emotion, named at its right end.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`.
    title, subtitle
        Words of the heading.

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty.
    """
    table = require(frame, COLUMNS, family="trends")
    names = list(dict.fromkeys(table["template"].astype(str)))
    panels = [_panel(table[table["template"] == name], name, bottom=at >= len(names) - _ACROSS)
              for at, name in enumerate(names)]  # fmt: skip
    across = [alt.hconcat(*panels[at : at + _ACROSS], spacing=58) for at in range(0, len(panels), _ACROSS)]
    told = heading(
        title,
        subtitle,
        "orange, solid: expected to rise with the value; blue, dashed: expected to fall",
        f"{len(names)} templates; standardised projection on each direction (no unit)",
    )
    return theme.dress(alt.vconcat(*across, spacing=14).properties(title=told))


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="trends")
    right = total = 0
    for _, part in table.groupby(["template", "emotion"]):
        rho = part["step"].corr(part["score"], method="spearman")
        total += 1
        right += int((rho > 0) == (part["expected"].iloc[0] == "up"))
    return (
        f"Readings of {table['emotion'].nunique()} emotions over the values of {table['template'].nunique()} "
        f"templates; {right} of {total} trends go the expected way."
    )


def _panel(part: pd.DataFrame, name: str, *, bottom: bool) -> alt.LayerChart:
    ticks = dict(zip(part["step"], part["value"], strict=False))
    shown = [step for step in sorted(ticks) if step in (min(ticks), max(ticks))]
    words = " : ".join(f"datum.value == {step} ? '{ticks[step]:g}'" for step in shown) + " : ''"
    x = alt.X("step:Q", title=None, scale=alt.Scale(padding=4, nice=False),
              axis=alt.Axis(values=shown, labelExpr=words, grid=False, labelFlush=True))  # fmt: skip
    y = alt.Y("score:Q", title=None, scale=alt.Scale(domain=[-_REACH, _REACH]), axis=alt.Axis(tickCount=3))
    layers: list[alt.Chart] = []
    ends: list[tuple[str, float, str]] = []
    for emotion, line in part.groupby("emotion", sort=False):
        colour, dash = _WAYS[str(line["expected"].iloc[0])]
        base = alt.Chart(rows(line)).encode(x=x, y=y)
        layers.append(base.mark_line(color=colour, strokeDash=dash, strokeWidth=1.5))
        layers.append(base.mark_point(color=colour, filled=True, size=12, opacity=1))
        ends.append((str(emotion), float(line.sort_values("step")["score"].iloc[-1]), colour))
    places = spread([end for _, end, _ in ends], gap=10 * 2 * _REACH / _HEIGHT, low=-_REACH, high=_REACH)
    for (emotion, _, colour), place in zip(ends, places, strict=True):
        mark = alt.Chart(rows(pd.DataFrame({"text": [emotion], "score": [place]})))
        layers.append(mark.mark_text(align="left", dx=4, fontSize=8.5, color=colour, clip=False).encode(
            x=alt.value(_WIDTH), y=alt.Y("score:Q"), text="text:N"))  # fmt: skip
    head: Any = alt.Title(text=name.replace("_", " "), fontSize=9.5, anchor="start", offset=3)
    return alt.LayerChart(layer=[*layers]).properties(width=_WIDTH, height=_HEIGHT, title=head)
