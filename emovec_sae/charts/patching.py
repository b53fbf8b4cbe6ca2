"""Activation patching: how much of the answer comes back when a site is patched, over layers and positions."""

from __future__ import annotations

import altair as alt
import pandas as pd

from emovec_sae.charts import theme
from emovec_sae.charts.frames import heading, interval, largest, require, rows, signed, span
from emovec_sae.errors import ConfigError
from emovec_sae.sites import Site

COLUMNS = ("site", "layer", "recovered", "low", "high", "n")
"""One row a cell, and besides these either `where` (a span) or `position` (from the end: -1 is the last token)."""

SPANS = ("before", "changed word", "just after", "between", "last token", "last")
"""Order of the known spans, first in the text on top."""

_REACH = 1.0


def patching(frame: pd.DataFrame) -> alt.VConcatChart | alt.LayerChart:
    """Draw the heat map, layers along x, positions in reading order from top to bottom, a panel a stream.

    Parameters
    ----------
    frame
        Columns of `COLUMNS` and `where` or `position`; `recovered` is a fraction: 0 nothing, 1 the whole difference.

    Raises
    ------
    ConfigError
        If columns are missing, the table is empty or a site cannot be read.
    """
    table = _with_place(require(frame, COLUMNS, family="patching"))
    streams = table["site"].astype(str).map(_stream)
    places = _places(table)
    title = heading(
        "What patching one site brings back",
        f"n = {span(table['n'])} pairs a cell; recovered fraction of the logit difference "
        f"(0 nothing, 1 all of it), colours cut at \u00b1{_REACH:g}",
        "small values are not written out; they and the intervals are in the table of the figure",
    )
    panels = [_panel(table[streams == stream], stream, places) for stream in streams.unique()]
    if len(panels) == 1:
        return theme.dress(panels[0].properties(title=title))
    return theme.dress(alt.vconcat(*panels, spacing=16).properties(title=title))


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = _with_place(require(frame, COLUMNS, family="patching"))
    parts = []
    for place in _places(table):
        group = table[table["place"] == place]
        if len(group) and group["recovered"].notna().any():
            best = largest(group, group["recovered"])
            ends = interval(best["low"], best["high"])
            parts.append((float(best["recovered"]), f"{place}: {signed(best['recovered'])} at {best['site']} ({ends})"))
    parts.sort(key=lambda part: -part[0])
    return (
        "Recovered fraction of the logit difference when the residual of the source text replaces that of the target "
        f"text at one layer and place; n = {span(table['n'])} pairs a cell. Largest by place: "
        f"{'; '.join(text for _, text in parts[:4])}. Intervals in brackets; the largest cell is picked after the fact."
    )


def _with_place(table: pd.DataFrame) -> pd.DataFrame:
    for column in ("where", "position"):
        if column in table.columns and table[column].notna().all():
            names = table[column] if column == "where" else table[column].astype(int)
            return table.assign(
                place=[signed(name, 0) if isinstance(name, int) else str(name) for name in names.tolist()]
            )
    raise ConfigError(
        "chart 'patching' needs a column 'where' (spans) or 'position' (counted from the end), without gaps"
    )


def _places(table: pd.DataFrame) -> list[str]:
    found = list(dict.fromkeys(table["place"]))
    if "where" not in table.columns:
        return sorted(found, key=lambda name: int(name.replace("\u2212", "-")))
    return [name for name in SPANS if name in found] + [name for name in found if name not in SPANS]


def _panel(table: pd.DataFrame, stream: str, places: list[str]) -> alt.LayerChart:
    layers = sorted(int(layer) for layer in table["layer"].unique())
    wide = max(6, min(44, theme.room(560, beside=100) // len(layers)))
    tall = 30 if len(places) <= 6 else 18
    # Most cells hold noise around zero: only what stands out is written, more of it where there is room.
    least = float("inf") if wide < 18 else 0.0 if wide >= 26 else 0.05 if len(places) <= 6 else 0.1
    said = [_short(value) if abs(value) >= least else "" for value in table["recovered"]]
    table = table.assign(said=said, dark=table["recovered"] < theme.WHITE_BELOW * _REACH)
    axis = {"domain": False, "ticks": False, "grid": False}
    every = 1 if wide >= 16 else 5
    named = [layer for layer in layers if layer % every == 0] or layers
    counted = "span" if "where" in table.columns else "token, from the end"
    base = alt.Chart(rows(table)).encode(
        x=alt.X(
            "layer:O",
            axis=alt.Axis.from_dict(
                axis | {"labelAngle": 0, "values": named, "title": f"layer ({stream}, counted from 0)"}
            ),
        ),
        y=alt.Y("place:N", sort=places, axis=alt.Axis.from_dict(axis | {"title": counted, "labelColor": theme.INK})),
    )
    legend = alt.Legend(
        title="recovered fraction", orient="top", gradientLength=180, values=[-1, -0.5, 0, 0.5, 1], format="~g"
    )
    scale = alt.Scale(domain=[-_REACH, _REACH], range=list(theme.DIVERGING), clamp=True, interpolate="lab")
    cells = base.mark_rect(aria=False, stroke=theme.BACK, strokeWidth=0.6).encode(
        color=alt.Color("recovered:Q", scale=scale, legend=legend),
        tooltip=["site:N", "place:N", "recovered:Q", "low:Q", "high:Q", "n:Q"],
    )
    text = base.mark_text(fontSize=8.5).encode(
        text="said:N", color=alt.condition("datum.dark", alt.value("#ffffff"), alt.value(theme.INK))
    )
    return alt.LayerChart(layer=[cells, text]).properties(width=alt.Step(wide), height=alt.Step(tall))


def _short(value: float) -> str:
    """Return ``'.87'``, ``'1.0'``, ``'0'``: three signs at most, and a minus."""
    if pd.isna(value):
        return ""
    if abs(value) < 0.005:
        return "0"
    return signed(value, 1) if abs(value) >= 0.995 else signed(value, 2).replace("0.", ".", 1)


def _stream(site: object) -> str:
    return Site.parse(str(site)).stream
