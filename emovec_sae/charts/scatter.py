"""A scatter of named points, with the least-squares line."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt
import numpy as np
import pandas as pd

from emovec_sae.charts import theme
from emovec_sae.charts.frames import heading, require, rows, signed
from emovec_sae.charts.labels import place_labels

COLUMNS = ("label", "x", "y", "low", "high", "group")
"""One row a point; `low` and `high` are the interval of y, NaN where there is none."""

PICK, ZOOM = "group", True
_WIDTH, _SHAPE, _FONT = 560, 5 / 7, 9


def scatter(
    frame: pd.DataFrame,
    *,
    x_title: str = "x",
    y_title: str = "y",
    title: str = "",
    subtitle: str = "",
    styles: Mapping[str, tuple[str, str]] | None = None,
) -> alt.LayerChart:
    """Draw the points; names stand where there is room.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`, at most eight groups.
    x_title, y_title, title, subtitle
        Words, with units; r and n are added.
    styles
        Colour and shape of each group, in the order of the legend; None takes `theme.LINES` in the order of the table.

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty.
    """
    table = require(frame, COLUMNS, family="scatter")
    wide = theme.room(_WIDTH, beside=62)
    tall = max(round(_SHAPE * wide), 230)
    x_ends, y_ends = _ends(table, ["x"]), _ends(table, ["y", "low", "high"])
    found = list(dict.fromkeys(table["group"].astype(str)))
    taken = styles or {name: (line[0], line[2]) for name, line in zip(found, theme.LINES, strict=False)}
    groups = [name for name in taken if name in found]
    x = alt.X("x:Q", title=x_title, scale=alt.Scale(domain=x_ends, nice=False))
    y = alt.Y("y:Q", title=y_title, scale=alt.Scale(domain=y_ends, nice=False))
    base = alt.Chart(rows(table)).encode(x=x)
    legend = alt.Legend(title=None, orient="bottom", columns=4 if wide > 400 else 2) if len(groups) > 1 else None
    colours = alt.Scale(domain=groups, range=[taken[name][0] for name in groups])
    shapes = alt.Scale(domain=groups, range=[taken[name][1] for name in groups])
    points = base.mark_point(filled=True, size=44, opacity=1).encode(
        y=y, color=alt.Color("group:N", scale=colours, legend=legend),
        shape=alt.Shape("group:N", scale=shapes, legend=legend),
        tooltip=["label:N", "group:N", "x:Q", "y:Q", "low:Q", "high:Q"],
    )  # fmt: skip
    bars = base.transform_filter("isValid(datum.low)").mark_rule(color=theme.OTHER, strokeWidth=0.7, opacity=0.7)
    layers = [
        bars.encode(y=alt.Y("low:Q"), y2="high:Q"),
        _line(table, x_ends),
        points,
        *_names(table, x_ends, y_ends, (wide, tall)),
    ]
    told = heading(
        title, subtitle, f"r = {signed(_r(table))}, n = {len(table)}; line: least squares; bars: 95 % intervals"
    )
    return theme.dress(alt.LayerChart(layer=layers).properties(width=wide, height=tall, title=told))


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="scatter")
    return (
        f"{len(table)} points in {table['group'].nunique()} groups; Pearson's r = {signed(_r(table))} over all of "
        "them, "
        "without an interval; bars are 95 % intervals of single points. Names stand where there is room."
    )


def _r(table: pd.DataFrame) -> float:
    return float(table["x"].corr(table["y"])) if len(table) > 2 else float("nan")


def _ends(table: pd.DataFrame, columns: list[str]) -> list[float]:
    known = table[columns].to_numpy(dtype=float)
    low, high = float(np.nanmin(known)), float(np.nanmax(known))
    margin = 0.06 * max(high - low, 1e-9)
    return [low - margin, high + margin]


def _line(table: pd.DataFrame, ends: list[float]) -> alt.Chart:
    x, y = table["x"].to_numpy(dtype=float), table["y"].to_numpy(dtype=float)
    slope = float(np.cov(x, y)[0, 1] / np.var(x, ddof=1)) if len(x) > 2 and np.ptp(x) > 0 else 0.0
    fitted = pd.DataFrame({"x": ends, "y": [y.mean() + slope * (end - x.mean()) for end in ends]})
    return alt.Chart(rows(fitted)).mark_line(color=theme.RULE, strokeWidth=1, clip=True).encode(x="x:Q", y="y:Q")


def _names(table: pd.DataFrame, x_ends: list[float], y_ends: list[float], plot: tuple[int, int]) -> list[alt.Chart]:
    size = np.array(plot, dtype=float)
    low = np.array([x_ends[0], y_ends[0]])
    unit = (np.array([x_ends[1], y_ends[1]]) - low) / size
    pixels = (table[["x", "y"]].to_numpy(float) - low) / unit
    # The outermost points are named first: they are what a reader asks about.
    order = np.argsort(-np.linalg.norm((pixels - pixels.mean(axis=0)) / size, axis=1))
    texts = [str(name) for name in table["label"].iloc[order]]
    placed, _ = place_labels(
        pixels[order], texts, size=_FONT, radius=4, reach=(1.5, 4), bounds=(float(size[0]), float(size[1])), crowd=0
    )
    found = [
        {"text": texts[one.index], "x": float(low[0] + one.x * unit[0]), "y": float(low[1] + one.y * unit[1])}
        for one in placed
    ]
    if not found:
        return []
    base = alt.Chart(rows(pd.DataFrame(found))).encode(x="x:Q", y="y:Q", text="text:N")
    halo = base.mark_text(fontSize=_FONT, stroke=theme.BACK, strokeWidth=2.4, aria=False)
    return [halo, base.mark_text(fontSize=_FONT, color=theme.MUTED)]
