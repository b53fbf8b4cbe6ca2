"""What carries the answer: recovered fraction over layers, a curve for each thing that is moved, a panel a place."""

from __future__ import annotations

from itertools import cycle

import altair as alt
import pandas as pd

from emovec_sae.charts import theme
from emovec_sae.charts.frames import heading, interval, largest, require, rows, signed, span
from emovec_sae.charts.labels import text_width
from emovec_sae.errors import ConfigError

COLUMNS = ("what", "site", "layer", "where", "recovered", "low", "high", "n")
"""One row a (thing moved, site, part of the text)."""

_Styles = dict[str, tuple[str, tuple[int, ...], str]]

STYLES: _Styles = {
    "residual": ("#111318", (1, 0), "circle"),
    "direction": ("#d9770c", (7, 2), "square"),
    "subspace": ("#b5568f", (9, 2, 2, 2), "diamond"),
    "attn_out": ("#5f4b8b", (4, 2), "triangle-down"),
    "mlp_out": ("#56a8dd", (6, 3, 1, 3), "triangle-right"),
    "other direction": ("#a0563b", (3, 2, 1, 2), "triangle-left"),
    "random direction": ("#8d9198", (2, 3), "cross"),
    "random, as far as direction": ("#6f747c", (5, 3), "triangle-down"),
    "random latents": ("#b4b7bc", (1, 3), "triangle-left"),
}
"""Colour, dash and shape of what has no number of latents."""

NULLS = (("#b4b7bc", (1, 3), "triangle-left"), ("#9aa0a8", (3, 4), "triangle-right"), ("#c9ccd1", (6, 4), "cross"))
"""Taken in turn by other random controls."""

LATENTS = (
    ("#1f5fa8", (7, 2), "square"),
    ("#1d9a82", (4, 2), "triangle-up"),
    ("#e2a21b", (1, 2), "diamond"),
    ("#54585f", (10, 4), "circle"),
)
"""Taken in turn by numbers of latents, the largest first."""

_TIPS = ["what:N", "site:N", "where:N", "recovered:Q", "low:Q", "high:Q", "n:Q"]

_WIDTH, _HEIGHT, _LOW, _TICKS = 260, 170, 120, 8
_SMALL = 0.4
"""The parts get panels of their own where they reach less than this share of the whole state's scale."""


def carriers(frame: pd.DataFrame) -> alt.VConcatChart:
    """Draw the curves, layers along x, a panel for each part of the text, in the order of the text.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`; at most four numbers of latents.

    Raises
    ------
    ConfigError
        If columns are missing, the table is empty, or something in it has no style.
    """
    table = require(frame, COLUMNS, family="carriers")
    styles = _styles(list(dict.fromkeys(table["what"].astype(str))))
    domain, parts = _domain(table, 1.0), table[table["what"] != "residual"]
    places = list(dict.fromkeys(table["where"].astype(str)))
    across = 2 if theme.page() > 500 else 1
    legend = round(max(text_width(name, 10) for name in styles)) + 42 if across > 1 else 0
    wide = min(_WIDTH, (theme.room(theme.page(), beside=legend) - 18 * (across - 1)) // across - 48)
    panels = [_panel(table[table["where"] == place], place, styles, domain, wide) for place in places]
    near = _domain(parts, 0.0)
    if 0 < len(parts) < len(table) and near[1] < _SMALL * domain[1]:  # the whole state presses all else on the axis
        draw = _panel if parts["layer"].nunique() > 1 else _lines
        for place in places:
            panels.append(draw(parts[parts["where"] == place], f"{place}, parts alone", styles, near, wide))
    over = "families of pairs" if "clusters" in table and (table["clusters"] < table["n"]).any() else "pairs"
    title = heading(
        "What carries the feeling from one text into the other",
        f"n = {span(table['n'])} pairs a point; recovered fraction of the logit difference (0 nothing, 1 all of it)",
        f"bands and bars: 95 % intervals over the {over}",
    )
    pairs = [alt.hconcat(*panels[at : at + across], spacing=18) for at in range(0, len(panels), across)]
    return theme.dress(alt.vconcat(*pairs, spacing=14).properties(title=title))


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="carriers")
    parts: list[str] = []
    for what, group in table.groupby("what", sort=False):
        if group["recovered"].notna().any():
            best = largest(group, group["recovered"])
            ends = interval(best["low"], best["high"])
            parts.append(f"{what}: {signed(best['recovered'])} at {best['site']}, {best['where']} ({ends})")
    return (
        "Recovered fraction of the logit difference when one thing of the source text's run is put into the target's, "
        f"at one layer and place; n = {span(table['n'])} pairs a point. Largest of each: {'; '.join(parts)}. "
        "Intervals in brackets; the largest points are picked after the fact."
    )


def _ticks(layers: pd.Series) -> list[int]:
    """Layers to name: those that were patched, every second or third of them where they are many."""
    found = sorted(int(layer) for layer in layers.unique())
    return found[:: -(-len(found) // _TICKS)]


def _domain(table: pd.DataFrame, least: float) -> list[float]:
    """Ends of the vertical scale, with 0 and `least` inside."""
    known = pd.Series(table[["recovered", "low", "high"]].to_numpy(dtype=float).ravel()).dropna()
    if not len(known):
        return [0.0, 1.0]
    return [max(-1.0, min(0.0, float(known.min()))), min(1.5, max(least, float(known.max())))]


def _styles(names: list[str]) -> _Styles:
    latents = sorted((one for one in names if one.startswith("k=")), key=lambda one: -int(one[2:]))
    nulls = [one for one in names if one.startswith("random") and one not in STYLES]
    drawn = [one for one in names if one in STYLES] + nulls + latents
    unknown = [one for one in names if one not in drawn]
    if unknown or len(latents) > len(LATENTS):
        what = f"'{unknown[0]}' has no style" if unknown else f"{len(latents)} numbers of latents, {len(LATENTS)} fit"
        raise ConfigError(f"chart 'carriers' cannot be drawn: {what}; filter the frame first")
    told = dict(zip(nulls, cycle(NULLS), strict=False)) | dict(zip(latents, LATENTS, strict=False))
    return {one: STYLES[one] if one in STYLES else told[one] for one in names if not one.startswith("k=")} | {
        one: told[one] for one in latents
    }


def _panel(table: pd.DataFrame, place: str, styles: _Styles, domain: list[float], wide: int) -> alt.LayerChart:
    names = list(styles)
    layers = [int(table["layer"].min()), int(table["layer"].max())]
    colour, dash, shape = _marks(styles)
    base = alt.Chart(rows(table)).encode(
        x=alt.X(
            "layer:Q",
            title="layer (counted from 0)",
            axis=alt.Axis(grid=False, format="d", values=_ticks(table["layer"])),
            scale=alt.Scale(domain=layers, nice=False, padding=10),
        )
    )
    # As much room for the numbers in every panel, so that the panels stand below each other.
    y = alt.Y("recovered:Q", title="recovered", scale=alt.Scale(domain=domain), axis=alt.Axis(minExtent=28))
    alone = [name for name in names if table.loc[table["what"] == name, "layer"].nunique() == 1]  # a band needs two
    sure = base.transform_filter("isValid(datum.low)")
    band = sure.transform_filter(alt.FieldOneOfPredicate(field="what", oneOf=[n for n in names if n not in alone]))
    bars = sure.transform_filter(alt.FieldOneOfPredicate(field="what", oneOf=alone))
    low = alt.Y("low:Q", title="recovered", scale=alt.Scale(domain=domain))
    return alt.LayerChart(
        layer=[
            alt.Chart(rows(pd.DataFrame({"zero": [0.0]}))).mark_rule(color=theme.RULE).encode(y="zero:Q"),
            band.mark_area(opacity=0.14, aria=False, clip=True).encode(color=colour, y=low, y2="high:Q"),
            bars.mark_rule(clip=True).encode(color=colour, y=low, y2="high:Q"),
            base.mark_line(strokeWidth=1.7, clip=True).encode(y=y, color=colour, strokeDash=dash),
            base.mark_point(filled=True, size=30, opacity=1, clip=True).encode(
                y=y, color=colour, shape=shape, tooltip=_TIPS
            ),
        ]
    ).properties(
        width=wide, height=_HEIGHT if theme.page() > 500 else _LOW, title=alt.Title(text=place, fontSize=11, offset=4)
    )


def _lines(table: pd.DataFrame, place: str, styles: _Styles, domain: list[float], wide: int) -> alt.LayerChart:
    """What was moved at one layer only, a line each: on one place of the axis they would lie on each other."""
    colour, _, shape = _marks(styles)
    order = [name for name in styles if name in set(table["what"])]
    base = alt.Chart(rows(table)).encode(y=alt.Y("what:N", sort=order, axis=None))
    x = alt.X("recovered:Q", title=f"recovered, layer {int(table['layer'].iloc[0])}", scale=alt.Scale(domain=domain))
    return alt.LayerChart(
        layer=[
            alt.Chart(rows(pd.DataFrame({"zero": [0.0]}))).mark_rule(color=theme.RULE).encode(x="zero:Q"),
            base.transform_filter("isValid(datum.low)")
            .mark_rule(clip=True)
            .encode(color=colour, x=alt.X("low:Q", scale=alt.Scale(domain=domain)), x2="high:Q"),
            base.mark_point(filled=True, size=40, opacity=1, clip=True).encode(
                x=x, color=colour, shape=shape, tooltip=_TIPS
            ),
        ]
    ).properties(width=wide + 42, height=18 * len(order), title=alt.Title(text=place, fontSize=11, offset=4))


def _marks(
    styles: _Styles,
) -> tuple[alt.Color, alt.StrokeDash, alt.Shape]:
    """Colour, dash and shape of what is moved; they become one legend, so that each must ask for the same."""
    wide = theme.page() > 500
    legend = alt.Legend(
        title="moved",
        symbolOpacity=1,
        symbolStrokeWidth=0,
        orient="right" if wide else "top",
        columns=1 if wide else 2,
    )
    names = list(styles)
    colours, dashes, shapes = zip(*styles.values(), strict=True)
    return (
        alt.Color("what:N", scale=alt.Scale(domain=names, range=list(colours)), legend=legend),
        alt.StrokeDash("what:N", scale=alt.Scale(domain=names, range=[*map(list, dashes)]), legend=legend),
        alt.Shape("what:N", scale=alt.Scale(domain=names, range=list(shapes)), legend=legend),
    )
