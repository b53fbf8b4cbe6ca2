"""Dose curves: what each arm does to the emotion's words at a matched dose."""

from __future__ import annotations

import altair as alt
import pandas as pd

from emovec_sae.charts import theme
from emovec_sae.charts.frames import INTERVAL, heading, interval, require, rows, signed, span

COLUMNS = ("emotion", "arm", "kl", "level", "effect", "low", "high", "n")
"""One row an emotion, arm and dose; `kl` nats reached, `level` nats asked, `effect` the change of log-odds in nats."""

PICK = "arm"
_ACROSS, _NARROW = 4, 500


def dose_curves(frame: pd.DataFrame, *, interval: str = INTERVAL) -> alt.FacetChart:
    """Draw effect against dose, a panel an emotion, arms apart by colour, dash and shape.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`.
    interval
        What the bands mean, for the subtitle.

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty.
    """
    table = require(frame, COLUMNS, family="dose_curves")
    emotions = [str(name) for name in table["emotion"].unique()]
    across = _across(len(emotions)) if theme.page() > _NARROW else min(2, len(emotions))
    width = min(round((theme.page() - 70 - 22 * (across - 1)) / across), 420)
    colour, dash, shape = arm_channels([str(arm) for arm in table["arm"].unique()], columns=theme.page() // 110)
    base = alt.Chart().encode(x=_dose(table), color=colour)
    layers = [
        alt.Chart().mark_rule(color=theme.RULE, strokeWidth=0.8, aria=False).encode(y=alt.datum(0)),
        base.mark_area(opacity=0.14, aria=False, strokeWidth=0).encode(y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_line(strokeWidth=1.6).encode(
            strokeDash=dash, y=alt.Y("effect:Q", axis=alt.Axis(title="change of log-odds (nats)", tickCount=5))
        ),
        base.mark_point(filled=True, size=24, opacity=1).encode(
            shape=shape,
            y="effect:Q",
            tooltip=["emotion:N", "arm:N", "kl:Q", "level:Q", "effect:Q", "low:Q", "high:Q", "n:Q"],
        ),
    ]
    title = heading(
        "Effect on the emotion\u2019s held-out words at equal dose",
        f"n = {span(table['n'])} prompts a point; bands: {interval}; dose: KL reached on neutral text",
    )
    chart: alt.FacetChart = (
        alt.LayerChart(data=rows(table), layer=layers)
        .properties(width=width, height=round(max(width * 0.72, 105)))
        .facet(facet=alt.Facet("emotion:N", sort=emotions, header=alt.Header(labelAnchor="start")), columns=across)
        .properties(title=title, spacing={"row": 14, "column": 14})
    )
    return theme.dress(chart)


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="dose_curves")
    levels = sorted(table["level"].dropna().unique())
    level = min(levels, key=lambda value: abs(value - 0.1)) if levels else float("nan")
    at = table[table["level"] == level]
    parts = []
    for arm in theme.arm_styles(list(at["arm"].unique())):
        group = at[at["arm"] == arm]
        middle = f"median {signed(float(group['effect'].median()))} over {_count(group['emotion'].nunique())}"
        if len(group) == 1:
            row = group.iloc[0]
            middle = f"{signed(float(row['effect']))} ({interval(row['low'], row['high'])})"
        parts.append(f"{arm} {middle}")
    return (
        "Change of the log-odds of the emotion's held-out words against those of the other emotions (nats), n = "
        f"{span(table['n'])} prompts a point, for {_count(table['emotion'].nunique())}; doses are matched by KL on "
        f"neutral text. At {level:g} nats: {'; '.join(parts)}."
    )


def _count(emotions: int) -> str:
    return f"{emotions} emotion" if emotions == 1 else f"{emotions} emotions"


def _dose(table: pd.DataFrame) -> alt.X:
    asked = sorted(float(level) for level in table["level"].dropna().unique())
    kind = "log" if float(table["kl"].min()) > 0 else "sqrt"
    axis = alt.Axis(title="KL (nats)", values=asked or alt.Undefined, format="~g", labelOverlap="greedy", grid=False)
    return alt.X("kl:Q", scale=alt.Scale(type=kind, nice=False, padding=6), axis=axis)


def _across(count: int) -> int:
    """Panels in a row: at most four (five where that fills the rows), since a gap in the last row hides an axis."""
    if count <= _ACROSS:
        return count
    return next((columns for columns in (4, 3, 5) if count % columns == 0), _ACROSS)


def arm_channels(arms: list[str], *, columns: int) -> tuple[alt.Color, alt.StrokeDash, alt.Shape]:
    """Colour, dash and shape of arms, with a legend above the chart in so many columns."""
    styles = theme.arm_styles(arms)
    names = list(styles)
    colours, dashes, shapes = zip(*styles.values(), strict=True)
    # The three become one legend, so that each must ask for the same.
    legend = alt.Legend(
        title=None,
        orient="top",
        direction="horizontal",
        columns=columns,
        symbolSize=60,
        symbolOpacity=1,
        # The dashes of the lines would fray the edge of the symbols; a width of zero has no effect.
        symbolStrokeWidth=0.01,
        columnPadding=18,
    )
    return (
        alt.Color("arm:N", scale=alt.Scale(domain=names, range=list(colours)), legend=legend),
        alt.StrokeDash("arm:N", scale=alt.Scale(domain=names, range=list(dashes)), legend=legend),
        alt.Shape("arm:N", scale=alt.Scale(domain=names, range=list(shapes)), legend=legend),
    )
