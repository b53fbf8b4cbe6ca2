"""Which latents carry which emotions: a heat map of signed contributions."""

from __future__ import annotations

import json

import altair as alt
import pandas as pd

from emovec_sae.charts import theme
from emovec_sae.charts.frames import heading, largest, require, rows, signed

COLUMNS = ("emotion", "latent", "label", "delta", "emotion_order", "latent_order")
"""One row a cell; `delta` is Delta_j times the decoder norm, in units of the vector's norm."""

_STEP = 15


def latents_by_emotion(frame: pd.DataFrame) -> alt.LayerChart:
    """Draw the heat map, latents as rows and emotions as columns, a minus sign on the clearly negative cells.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`.

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty.
    """
    table = require(frame, COLUMNS, family="latents_by_emotion")
    reach = _reach(table)
    # Grey print loses the hue: the sign of a clearly negative cell is also written.
    table = table.assign(mark=["\u2212" if delta < -0.2 * reach else "" for delta in table["delta"]])
    table["dark"] = table["delta"] < -0.5 * reach
    order = table.drop_duplicates("latent").sort_values("latent_order")
    emotions = [str(name) for name in table.sort_values("emotion_order")["emotion"].unique()]
    names = dict(zip(order["latent"].astype(str), order["label"].astype(str), strict=True))
    axis = {"domain": False, "ticks": False, "title": None, "labelOverlap": False, "labelPadding": 3}
    wide = max(_STEP, min(22, round(430 / max(len(emotions), 1))))
    base = alt.Chart(rows(table.assign(latent=table["latent"].astype(str)))).encode(
        x=alt.X("emotion:N", sort=emotions, axis=alt.Axis.from_dict(axis | {"labelAngle": -90})),
        y=alt.Y(
            "latent:N",
            sort=list(names),
            axis=alt.Axis.from_dict(axis | {"labelLimit": 230, "labelExpr": f"({_lookup(names)})[datum.value]"}),
        ),
    )
    ends = [-reach, 0.0, reach]
    colour = alt.Color(
        "delta:Q",
        scale=alt.Scale(domain=[-reach, reach], range=list(theme.DIVERGING), clamp=True, interpolate="lab"),
        legend=alt.Legend(
            title="\u0394 \u00d7 decoder norm, in units of |v|",
            orient="top",
            gradientLength=180,
            values=ends,
            format=".2f",
        ),
    )
    cells = base.mark_rect(aria=False, stroke=theme.BACK, strokeWidth=0.6).encode(
        color=colour, tooltip=["emotion:N", "label:N", alt.Tooltip("delta:Q", format=".3f")]
    )
    marks = base.mark_text(fontSize=9, aria=False).encode(
        text="mark:N", color=alt.condition("datum.dark", alt.value("#ffffff"), alt.value(theme.INK))
    )
    title = heading(
        f"{len(names)} latents in {len(emotions)} emotion vectors",
        f"n = {len(table):,} cells, point values without intervals; \u2212 marks cells below {signed(-0.2 * reach)}",
    )
    return theme.dress(
        alt.LayerChart(layer=[cells, marks]).properties(width=alt.Step(wide), height=alt.Step(_STEP), title=title)
    )


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="latents_by_emotion")
    top = largest(table, table["delta"].abs())
    winners = {largest(part, part["delta"])["latent"] for _, part in table.groupby("emotion")}
    return (
        f"Contribution of {table['latent'].nunique()} latents to {table['emotion'].nunique()} emotion vectors: "
        "difference of mean activations times the decoder norm, in units of the vector's norm. The largest cell is "
        f"{top['label']} in {top['emotion']} ({signed(float(top['delta']))}); {len(winners)} different latents "
        f"are the strongest of some emotion. Colours are cut at \u00b1{_reach(table):.2f}."
    )


def _reach(table: pd.DataFrame) -> float:
    """End of the colour scale: the 99th percentile, so that one huge cell does not wash out the others."""
    size = table["delta"].abs().dropna()
    return max(round(float(size.quantile(0.99)), 2), 0.01) if len(size) else 0.01


def _lookup(names: dict[str, str]) -> str:
    """A Vega object literal from latent to label; JSON escapes whatever a token holds."""
    return json.dumps(names, ensure_ascii=False)
