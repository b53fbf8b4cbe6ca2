"""The vector map: emotion vectors on their first two principal components, coloured by valence."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from emovec_sae.charts import theme
from emovec_sae.charts.frames import heading, percent, require, rows, signed, sites_in, span
from emovec_sae.charts.labels import place_labels

COLUMNS = (
    "emotion",
    "pc1",
    "pc2",
    "valence",
    "arousal",
    "family",
    "core",
    "explained1",
    "explained2",
    "site",
    "n_texts",
)
"""One row an emotion; `explained1` and `explained2` are shares of variance, the same in every row. A column `method`
names another map than PCA (its axes have no unit, and NaN for the shares)."""

_WIDTH, _RADIUS, _CORE, _OTHER = 610, 3.6, 10.5, 8.5


def vector_map(frame: pd.DataFrame) -> alt.LayerChart:
    """Draw the map: equal units on both axes, core emotions named, others named where there is room.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`; valence runs from 1 (unpleasant) to 9 (pleasant).

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty.
    """
    table = require(frame, COLUMNS, family="vector_map")
    table = table.sort_values("core", ascending=False, kind="stable", ignore_index=True)
    low, high, height = _window(table)
    method = _method(table)
    x = alt.X("pc1:Q", scale=alt.Scale(domain=[low[0], high[0]], nice=False), axis=_axis(method, 1, table))
    y = alt.Y("pc2:Q", scale=alt.Scale(domain=[low[1], high[1]], nice=False), axis=_axis(method, 2, table))
    names, lines = _labels(table, low, high, height)
    colour = alt.Color(
        "valence:Q",
        scale=alt.Scale(domain=[1, 9], range=list(theme.VALENCE), interpolate="lab"),
        legend=alt.Legend(
            title="valence: 1 unpleasant, 9 pleasant", orient="top", gradientLength=180, values=[1, 3, 5, 7, 9]
        ),
    )
    points = (
        alt.Chart(rows(table.drop(columns=["explained1", "explained2", "site", "n_texts"])))
        .mark_circle(stroke=theme.INK, opacity=1)
        .encode(
            x=x,
            y=y,
            color=colour,
            size=alt.condition("datum.core", alt.value(46), alt.value(26)),
            strokeWidth=alt.condition("datum.core", alt.value(0.9), alt.value(0.35)),
            tooltip=["emotion:N", "family:N", "valence:Q", "arousal:Q", "pc1:Q", "pc2:Q"],
        )
    )
    title = heading(
        f"{len(table)} emotion vectors on their first two principal components"
        if method == "PCA"
        else f"{len(table)} emotion vectors, mapped by {method}",
        f"{sites_in(table)}; n = {span(table['n_texts'])} texts an emotion; "
        f"{'both axes in the same unit' if method == 'PCA' else 'only neighbourhoods mean something'}; "
        "colour: rated valence",
    )
    chart = alt.LayerChart(layer=[lines, points, *names]).properties(width=_WIDTH, height=height, title=title)
    return theme.dress(chart)


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="vector_map")
    if _method(table) != "PCA":
        return (
            f"{len(table)} emotion vectors at {sites_in(table)} (n = {span(table['n_texts'])} texts an emotion), "
            f"mapped by {_method(table)}, which keeps neighbours together and no distances. Colour is the rated "
            "valence from 1 (unpleasant) to 9 (pleasant)."
        )
    shares = [float(table[name].iloc[0]) for name in ("explained1", "explained2")]
    found = [
        f"PC{number} with {what} r = {signed(float(table[f'pc{number}'].corr(table[what])))}"
        for number in (1, 2)
        for what in ("valence", "arousal")
        if len(table) > 2 and table[what].nunique() > 1 and table[f"pc{number}"].nunique() > 1
    ]
    related = f"Correlations over emotions: {', '.join(found)}. " if found else ""
    return (
        f"Principal components of {len(table)} emotion vectors at {sites_in(table)} "
        f"(n = {span(table['n_texts'])} texts an emotion). The first two hold {percent(shares[0])} and "
        f"{percent(shares[1])} of the variance between emotions. {related}Colour is the rated valence from 1 "
        f"(unpleasant) to 9 (pleasant); the {int(table['core'].sum())} core emotions are outlined and named, others "
        "are named where there is room. The sign of a component is arbitrary."
    )


def _method(table: pd.DataFrame) -> str:
    return str(table["method"].iloc[0]) if "method" in table else "PCA"


def _axis(method: str, number: int, table: pd.DataFrame) -> alt.Axis:
    if method != "PCA":
        return alt.Axis(title=f"{method} {number} (no unit)", grid=True, tickCount=6)
    share = percent(float(table[f"explained{number}"].iloc[0]))
    return alt.Axis(title=f"PC{number} ({share} of variance)", grid=True, tickCount=6)


def _window(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, int]:
    """Corner values of the plot and its height in pixels, so that one unit is as long on both axes."""
    points = table[["pc1", "pc2"]].to_numpy(float)
    low, high = points.min(axis=0), points.max(axis=0)
    reach = np.maximum(high - low, 1e-9)
    low, high = low - 0.06 * reach, high + 0.06 * reach
    width, tall = high - low
    # A very flat or very tall cloud gets a wider window on its short side, not a distorted unit.
    ratio = float(np.clip(tall / width, 0.55, 1.0))
    grow = np.array([max(tall / ratio - width, 0.0), max(width * ratio - tall, 0.0)]) / 2
    return low - grow, high + grow, round(_WIDTH * ratio)


def _labels(table: pd.DataFrame, low: np.ndarray, high: np.ndarray, height: int) -> tuple[list[alt.Chart], alt.Chart]:
    """Text layers (a pale halo under each) and leader lines; core emotions first, then others where there is room."""
    size = np.array([_WIDTH, height], dtype=float)
    unit = (high - low) / size
    pixels = (table[["pc1", "pc2"]].to_numpy(float) - low) / unit
    # Bold letters are about six hundredths wider than the regular ones that the widths describe.
    core = int(table["core"].sum())
    bounds = (float(size[0]), float(size[1]))
    texts = [str(name) for name in table["emotion"]]
    major, boxes = place_labels(
        pixels,
        texts[:core],
        size=1.06 * _CORE,
        radius=_RADIUS + 0.6,
        reach=(1.5, 4, 7, 11, 16, 24, 34, 48, 66),
        bounds=bounds,
    )
    rest = np.concatenate([pixels[core:], pixels[:core]])
    minor, _ = place_labels(
        rest, texts[core:], size=_OTHER, radius=_RADIUS, reach=(1.5, 4), bounds=bounds, taken=boxes, crowd=0
    )
    entries = [(label, label.index, True) for label in major] + [(label, label.index + core, False) for label in minor]
    records = []
    for label, row, is_core in entries:
        x, y = low + np.array([label.x, label.y]) * unit
        point = table.loc[row, ["pc1", "pc2"]].astype(float)
        records.append(
            {
                "text": texts[row],
                "x": x,
                "y": y,
                "pc1": point["pc1"],
                "pc2": point["pc2"],
                "core": is_core,
                "far": label.far,
            }
        )
    frame = pd.DataFrame(records, columns=["text", "x", "y", "pc1", "pc2", "core", "far"])
    lines = (
        alt.Chart(rows(frame[frame["far"]]))
        .mark_rule(color=theme.RULE, strokeWidth=0.7, aria=False)
        .encode(x="pc1:Q", y="pc2:Q", x2="x:Q", y2="y:Q")
    )
    layers = []
    for chosen, font, colour in ((False, _OTHER, theme.MUTED), (True, _CORE, theme.INK)):
        base = alt.Chart(rows(frame[frame["core"] == chosen])).encode(x="x:Q", y="y:Q", text="text:N")
        weight = "bold" if chosen else "normal"
        layers.append(base.mark_text(fontSize=font, fontWeight=weight, stroke=theme.BACK, strokeWidth=2.4, aria=False))
        layers.append(base.mark_text(fontSize=font, fontWeight=weight, color=colour))
    return layers, lines
