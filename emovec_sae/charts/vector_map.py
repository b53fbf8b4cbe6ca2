"""The vector map: emotion vectors on their first two principal components, coloured by valence, sized by arousal."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from emovec_sae.charts import theme
from emovec_sae.charts.frames import heading, percent, require, rows, signed, sites_in, span
from emovec_sae.charts.map_names import map_names

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
names another map than PCA (its axes have no unit, and NaN for the shares); several methods are drawn side by side."""

PICK, ZOOM = "family", False
_WIDTH, _APART, _SMALL, _LARGE = 610, 58, 14.0, 110.0


def vector_map(frame: pd.DataFrame) -> alt.LayerChart | alt.VConcatChart:
    """Draw the map: equal units on both axes, core emotions named, others named where there is room.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`; valence and arousal run from 1 (unpleasant, calm) to 9 (pleasant, aroused).

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty.
    """
    table = require(frame, COLUMNS, family="vector_map")
    maps = _maps(table)
    across = 1 if len(maps) == 1 or theme.page() < 500 else 2
    wide = theme.room(_WIDTH if len(maps) == 1 else theme.page(), beside=_APART * across) // across
    panels = [_panel(one, name, wide) for name, one in maps.items()]
    about = next(iter(maps.values()))
    if len(panels) == 1:
        title = heading(_title(about), f"{_told(about)}; {_meaning(next(iter(maps)))}")
        return theme.dress(panels[0].properties(title=title))
    named = [
        panel.properties(title=alt.Title(f"{name}: {_meaning(name)}", fontSize=10.5, offset=4))
        for name, panel in zip(maps, panels, strict=True)
    ]
    pairs = [alt.hconcat(*named[at : at + across], spacing=14) for at in range(0, len(named), across)]
    title = heading(f"{len(about)} emotion vectors on {len(maps)} maps", _told(about))
    return theme.dress(alt.vconcat(*pairs, spacing=18).properties(title=title))


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    maps = _maps(require(frame, COLUMNS, family="vector_map"))
    return " ".join(
        [*(_sentence(name, one) for name, one in maps.items()), _key(next(iter(maps.values())), tuple(maps))]
    )


def _maps(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Tables by method, core emotions first in each."""
    if "method" not in table:
        table = table.assign(method="PCA")
    table = table.assign(method=table["method"].fillna("PCA")).sort_values("core", ascending=False, kind="stable")
    return {str(name): one.reset_index(drop=True) for name, one in table.groupby("method", sort=False)}


def _title(table: pd.DataFrame) -> str:
    method = str(table["method"].iloc[0])
    what = "on their first two principal components" if method == "PCA" else f"mapped by {method}"
    return f"{len(table)} emotion vectors {what}"


def _told(table: pd.DataFrame) -> str:
    return f"{sites_in(table)}; n = {span(table['n_texts'])} texts an emotion; colour: valence, size: arousal, as rated"


def _meaning(method: str) -> str:
    return "both axes in the same unit" if method == "PCA" else "only neighbourhoods mean something"


def _sentence(method: str, table: pd.DataFrame) -> str:
    about = f"{len(table)} emotion vectors at {sites_in(table)} (n = {span(table['n_texts'])} texts an emotion)"
    if method != "PCA":
        return f"{about}, mapped by {method}, which keeps neighbours together and no distances."
    shares = [float(table[name].iloc[0]) for name in ("explained1", "explained2")]
    found = [
        f"PC{number} with {what} r = {signed(float(table[f'pc{number}'].corr(table[what])))}"
        for number in (1, 2)
        for what in ("valence", "arousal")
        if len(table) > 2 and table[what].nunique() > 1 and table[f"pc{number}"].nunique() > 1
    ]
    related = f" Correlations over emotions: {', '.join(found)}; no intervals are shown." if found else ""
    return (
        f"Principal components of {about}. The first two hold {percent(shares[0])} and {percent(shares[1])} of the "
        f"variance between emotions.{related} The sign of a component is arbitrary."
    )


def _key(table: pd.DataFrame, methods: tuple[str, ...]) -> str:
    hidden = (
        "Emotions that lie together here may be apart in the components that are not drawn."
        if methods == ("PCA",)
        else "What a map puts together may be apart in the residual stream."
    )
    return (
        "Colour is the rated valence from 1 (unpleasant) to 9 (pleasant), area the rated arousal; the "
        f"{int(table['core'].sum())} core emotions are outlined and named, others are named where there is room. "
        f"{hidden}"
    )


def _panel(table: pd.DataFrame, method: str, wide: int) -> alt.LayerChart:
    low, high, tall = _window(table, wide)
    x = alt.X("pc1:Q", scale=alt.Scale(domain=[low[0], high[0]], nice=False), axis=_axis(method, 1, table))
    y = alt.Y("pc2:Q", scale=alt.Scale(domain=[low[1], high[1]], nice=False), axis=_axis(method, 2, table))
    scale = min(1.0, wide / 450)  # a small map has small points
    names, lines = map_names(table, low, high, (wide, tall))
    colour = alt.Color(
        "valence:Q",
        scale=alt.Scale(domain=[1, 9], range=list(theme.VALENCE), interpolate="lab"),
        legend=alt.Legend(
            title="valence: 1 unpleasant, 9 pleasant", type="gradient", values=[1, 3, 5, 7, 9],
            gradientLength=min(180, wide // 2),
            orient="top", offset=6,
        ),
    )  # fmt: skip
    area = alt.Size(
        "arousal:Q",
        # Vega-Lite merges the legends of scales that have one domain.
        scale=alt.Scale(domain=[1, 9.001], range=[_SMALL * scale, _LARGE * scale]),
        legend=alt.Legend(
            title="arousal: 1 calm, 9 aroused", direction="horizontal", values=[1, 5, 9], symbolFillColor=theme.OTHER,
            symbolStrokeColor=theme.INK, orient="top" if wide > 400 else "bottom", offset=6,
        ),
    )  # fmt: skip
    points = (
        alt.Chart(rows(table.drop(columns=["explained1", "explained2", "site", "n_texts"])))
        .mark_circle(stroke=theme.INK, opacity=1)
        .encode(
            x=x,
            y=y,
            color=colour,
            size=area,
            strokeWidth=alt.condition("datum.core", alt.value(1.1), alt.value(0.3)),
            tooltip=["emotion:N", "family:N", "valence:Q", "arousal:Q", "pc1:Q", "pc2:Q"],
        )
    )
    return alt.LayerChart(layer=[lines, points, *names]).properties(width=wide, height=tall)


def _axis(method: str, number: int, table: pd.DataFrame) -> alt.Axis:
    if method != "PCA":
        return alt.Axis(title=f"{method} {number} (no unit)", grid=True, tickCount=6)
    share = percent(float(table[f"explained{number}"].iloc[0]))
    return alt.Axis(title=f"PC{number} ({share} of variance)", grid=True, tickCount=6)


def _window(table: pd.DataFrame, wide: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Corner values of the plot and its height in pixels, so that one unit is as long on both axes."""
    points = table[["pc1", "pc2"]].to_numpy(float)
    low, high = points.min(axis=0), points.max(axis=0)
    reach = np.maximum(high - low, 1e-9)
    low, high = low - 0.06 * reach, high + 0.06 * reach
    width, tall = high - low
    # A very flat or very tall cloud gets a wider window on its short side, not a distorted unit.
    ratio = float(np.clip(tall / width, 0.55, 1.0))
    grow = np.array([max(tall / ratio - width, 0.0), max(width * ratio - tall, 0.0)]) / 2
    return low - grow, high + grow, round(wide * ratio)
