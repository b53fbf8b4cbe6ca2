"""Which latents carry which emotions: a heat map of signed contributions."""

from __future__ import annotations

import json

import altair as alt
import pandas as pd

from emovec_sae.charts import theme
from emovec_sae.charts.frames import heading, largest, require, rows, signed
from emovec_sae.charts.labels import text_width

COLUMNS = ("emotion", "latent", "label", "delta", "emotion_order", "latent_order")
"""One row a cell; `delta` is Delta_j times the decoder norm, in units of the vector's norm. Columns `participation` (of
how many emotions a latent is, effectively) and `generic` (whether that is many), if there, are drawn beside it."""

_STEP, _SHARING = 15, 74


def latents_by_emotion(frame: pd.DataFrame) -> alt.LayerChart | alt.HConcatChart:
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
    table["dark"] = table["delta"] < theme.WHITE_BELOW * reach
    order = table.drop_duplicates("latent").sort_values("latent_order")
    emotions = [str(name) for name in table.sort_values("emotion_order")["emotion"].unique()]
    names = dict(zip(order["latent"].astype(str), order["label"].astype(str), strict=True))
    axis = {"domain": False, "ticks": False, "title": None, "labelOverlap": False, "labelPadding": 3}
    limit, sharing = 230, _SHARING
    if theme.page() <= 500:  # numbers only, where tokens would leave no room for the cells
        names, sharing = {latent: label.split(" ")[0] for latent, label in names.items()}, _SHARING // 2
    longest = min(limit, round(max(text_width(name, 10) for name in names.values())))
    across = theme.room(430, beside=longest + 16 + (sharing + 24 if "participation" in table else 0))
    wide = max(5, min(22, across // max(len(emotions), 1)))
    base = alt.Chart(rows(table.assign(latent=table["latent"].astype(str)))).encode(
        x=alt.X(
            "emotion:N",
            sort=emotions,
            axis=alt.Axis.from_dict(axis | {"labelAngle": -90, "labelFontSize": min(10, wide)}),
        ),
        y=alt.Y(
            "latent:N",
            sort=list(names),
            axis=alt.Axis.from_dict(axis | {"labelLimit": limit, "labelExpr": f"({_lookup(names)})[datum.value]"}),
        ),
    )
    cells = base.mark_rect(aria=False, stroke=theme.BACK, strokeWidth=0.6).encode(
        color=_colour(reach), tooltip=["emotion:N", "label:N", alt.Tooltip("delta:Q", format=".3f")]
    )
    marks = base.mark_text(fontSize=9, aria=False).encode(
        text="mark:N", color=alt.condition("datum.dark", alt.value("#ffffff"), alt.value(theme.INK))
    )
    title = heading(
        f"{len(names)} latents in {len(emotions)} emotion vectors",
        f"n = {len(table):,} cells, point values without intervals; \u2212 marks cells below {signed(-0.2 * reach)}",
    )
    heat = alt.LayerChart(layer=[cells, marks]).properties(width=alt.Step(wide), height=alt.Step(_STEP))
    if "participation" not in table:
        return theme.dress(heat.properties(title=title))
    return theme.dress(alt.hconcat(heat, _sharing(table, list(names), sharing), spacing=10).properties(title=title))


def _colour(reach: float) -> alt.Color:
    return alt.Color(
        "delta:Q",
        scale=alt.Scale(domain=[-reach, reach], range=list(theme.DIVERGING), clamp=True, interpolate="lab"),
        legend=alt.Legend(
            title="\u0394 \u00d7 decoder norm, in units of |v|",
            orient="top",
            gradientLength=180,
            values=[-reach, 0.0, reach],
            format=".2f",
        ),
    )


def _sharing(table: pd.DataFrame, order: list[str], wide: int) -> alt.Chart:
    """Bars at the right: of how many emotions a latent is, dark where that makes it generic."""
    own = table.drop_duplicates("latent").assign(latent=lambda some: some["latent"].astype(str))
    kind = own["generic"].map({True: "generic", False: "specific"})
    kinds = alt.Scale(domain=["generic", "specific"], range=[theme.INK, theme.ERROR])
    return (
        alt.Chart(rows(own[["latent", "label", "participation"]].assign(kind=kind)))
        .mark_bar(height=8)
        .encode(
            x=alt.X(
                "participation:Q",
                title=["emotions", "(effective)"],
                axis=alt.Axis(tickCount=max(2, wide // 24), grid=False),
            ),
            y=alt.Y("latent:N", sort=order, axis=None),
            color=alt.Color("kind:N", scale=kinds, legend=alt.Legend(title=None, orient="top", direction="vertical")),
            tooltip=["label:N", "participation:Q", "kind:N"],
        )
        .properties(width=wide, height=alt.Step(_STEP))
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
        f"are the strongest of some emotion.{_shared(table)} Colours are cut at \u00b1{_reach(table):.2f}."
    )


def _shared(table: pd.DataFrame) -> str:
    if "participation" not in table:
        return ""
    own = table.drop_duplicates("latent")
    return (
        f" {int(own['generic'].sum())} of the latents are generic (spread over many emotions, at the right), "
        f"{int((~own['generic'].astype(bool)).sum())} specific."
    )


def _reach(table: pd.DataFrame) -> float:
    """End of the colour scale: the 99th percentile, so that one huge cell does not wash out the others."""
    size = table["delta"].abs().dropna()
    return max(round(float(size.quantile(0.99)), 2), 0.01) if len(size) else 0.01


def _lookup(names: dict[str, str]) -> str:
    """A Vega object literal from latent to label; JSON escapes whatever a token holds."""
    return json.dumps(names, ensure_ascii=False)
