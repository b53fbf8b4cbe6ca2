"""The similarity heat map: cosines between emotion vectors in clustered order."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from emovec_sae.charts import theme
from emovec_sae.charts.frames import heading, largest, require, rows, signed

COLUMNS = ("emotion_a", "emotion_b", "cosine", "order_a", "order_b")
"""One row an ordered pair of emotions; the orders are positions after clustering, counted from 0."""

MOST_LABELS = 60
"""Above this many emotions the names would be unreadable and are left out."""

_SIDE = 540


def similarity(frame: pd.DataFrame) -> alt.Chart:
    """Draw the heat map; names stand on the axes for at most `MOST_LABELS` emotions.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`.

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty.
    """
    table = require(frame, COLUMNS, family="similarity")
    count, reach = table["emotion_a"].nunique(), _reach(table)
    named = count <= MOST_LABELS
    narrow = theme.page() < _SIDE
    side = theme.room(min(_SIDE, 22 * count) if named else _SIDE, beside=85 if narrow else 140)
    chart = _cells(table, count, side)
    ends = [-reach, 0.0, reach]
    colour = alt.Color(
        "cosine:Q",
        scale=alt.Scale(domain=[-reach, reach], range=list(theme.DIVERGING), clamp=True, interpolate="lab"),
        legend=alt.Legend(
            title="cosine",
            orient="top" if narrow else "right",
            gradientLength=min(180, side),
            format=".1f",
            values=ends,
        ),
    )
    title = heading(
        f"Similarity of {count} emotion vectors",
        f"n = {count * (count - 1) // 2:,} pairs; cosine, dimensionless; clustered order",
        f"the scale is cut at \u00b1{reach:.1f}, the largest between different emotions; the diagonal is 1",
    )
    return theme.dress(chart.encode(color=colour).properties(width=side, height=side, title=title))


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="similarity")
    other = table[table["emotion_a"] != table["emotion_b"]]
    count = table["emotion_a"].nunique()
    text = f"Cosines between {count} emotion vectors, rows and columns in clustered order."
    if other.empty:
        return text
    near, far = largest(other, other["cosine"]), largest(other, -other["cosine"])
    return (
        f"{text} Over the {count * (count - 1) // 2:,} pairs the median is {signed(float(other['cosine'].median()))}; "
        f"the nearest pair is {near['emotion_a']} and {near['emotion_b']} ({signed(float(near['cosine']))}), the most "
        f"opposed {far['emotion_a']} and {far['emotion_b']} ({signed(float(far['cosine']))}). "
        f"Colours are cut at \u00b1{_reach(table):.1f}."
    )


def _cells(table: pd.DataFrame, count: int, side: int) -> alt.Chart:
    axis = {"domain": False, "ticks": False, "labelPadding": 2, "labelFontSize": min(10, max(6, side // count))}
    axis |= {"title": None} if count <= MOST_LABELS else {"title": f"{count} emotions", "labels": False}
    tight = alt.Scale(paddingInner=0)
    x_axis, y_axis = (alt.Axis.from_dict(axis | {"labelAngle": angle, "labelOverlap": False}) for angle in (-90, 0))
    return (
        alt.Chart(rows(table))
        .mark_rect(aria=False, strokeWidth=0)
        .encode(
            x=alt.X("emotion_b:N", sort=_order(table, "b"), axis=x_axis, scale=tight),
            y=alt.Y("emotion_a:N", sort=_order(table, "a"), axis=y_axis, scale=tight),
            tooltip=["emotion_a:N", "emotion_b:N", alt.Tooltip("cosine:Q", format=".2f")],
        )
    )


def _reach(table: pd.DataFrame) -> float:
    """Largest absolute cosine off the diagonal, rounded up to a tenth: with 1 as the end all others would look pale."""
    other = table.loc[table["emotion_a"] != table["emotion_b"], "cosine"].abs()
    return float(np.ceil(10 * max(float(other.max()) if len(other) else 1.0, 0.1) - 1e-9) / 10)


def _order(table: pd.DataFrame, side: str) -> list[str]:
    return [str(name) for name in table.sort_values(f"order_{side}")[f"emotion_{side}"].unique()]
