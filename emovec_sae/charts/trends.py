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

PICK = "emotion"
_WIDTH, _HEIGHT, _NAMES, _REACH, _AXIS = 118, 96, 64, 2.6, 28
_WAYS = {"up": (theme.POSITIVE, [1, 0]), "down": (theme.NEGATIVE, [4, 2])}


def trends(
    frame: pd.DataFrame,
    *,
    title: str = "Do larger numbers move the emotions the way that they should?",
    subtitle: str = "",
) -> alt.VConcatChart:
    """Draw the panels, as many across as the page has room for; a line an emotion, named at its right end.

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
    room = theme.page() - 2 * theme.PADDING
    count = max(min(2, len(names)), room // (_WIDTH + _NAMES + _AXIS))
    size = (min(_WIDTH, room // count - _NAMES - _AXIS - 4), _HEIGHT if room > 500 else 60)
    panels = [_panel(table[table["template"] == name], name, size) for name in names]
    across = [
        alt.hconcat(*panels[at : at + count], spacing=_NAMES + _AXIS, bounds="flush")
        for at in range(0, len(panels), count)
    ]
    told = heading(
        title,
        subtitle,
        "orange, solid: expected to rise with the value; blue, dashed: expected to fall",
        f"n = {len(names)} templates, one text a point; standardised projection (no unit)",
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
        f"templates (n = {total} trends); {right} of them go the expected way by the sign of Spearman's rank "
        "correlation. Scores are standardised within a line, so that lines cannot be compared in height; a point is "
        "one text, without an interval."
    )


def _panel(part: pd.DataFrame, name: str, size: tuple[int, int]) -> alt.LayerChart:
    wide, tall = size
    ticks = dict(zip(part["step"], part["value"], strict=False))
    shown = [step for step in sorted(ticks) if step in (min(ticks), max(ticks))]
    words = " : ".join(f"datum.value == {step} ? '{ticks[step]:,.10g}'" for step in shown) + " : ''"
    x = alt.X("step:Q", title=None, scale=alt.Scale(padding=4, nice=False),
              axis=alt.Axis(values=shown, labelExpr=words, grid=False, labelFlush=True))  # fmt: skip
    y = alt.Y("score:Q", title=None, scale=alt.Scale(domain=[-_REACH, _REACH]),
              axis=alt.Axis(tickCount=3, labelOverlap=False))  # fmt: skip
    ways = list(_WAYS)
    colour = alt.Color("expected:N", scale=alt.Scale(domain=ways, range=[_WAYS[way][0] for way in ways]), legend=None)
    dash = alt.StrokeDash(
        "expected:N", scale=alt.Scale(domain=ways, range=[_WAYS[way][1] for way in ways]), legend=None
    )
    base = alt.Chart(rows(part)).encode(x=x, color=colour, detail="emotion:N")
    ends = part.sort_values("step").groupby("emotion", sort=False).tail(1)
    places = spread(ends["score"].tolist(), gap=10 * 2 * _REACH / tall, low=-_REACH, high=_REACH)
    inks = [theme.letters(_WAYS[way][0]) for way in ends["expected"]]  # layers share a scale, letters have none
    names = alt.Chart(rows(ends[["emotion"]].assign(score=places, ink=inks)))
    layers = [
        base.mark_line(strokeWidth=1.5).encode(y=y, strokeDash=dash),
        base.mark_point(filled=True, size=12, opacity=1).encode(y=y, tooltip=["emotion:N", "value:Q", "score:Q"]),
        names.mark_text(align="left", dx=4, fontSize=8.5, clip=False).encode(
            x=alt.value(wide), y=alt.Y("score:Q"), text="emotion:N", color=alt.Color("ink:N", scale=None)
        ),
    ]
    head: Any = alt.Title(text=name.replace("_", " "), fontSize=9.5, anchor="start", offset=3)
    return alt.LayerChart(layer=[*layers]).properties(width=wide, height=tall, title=head)
