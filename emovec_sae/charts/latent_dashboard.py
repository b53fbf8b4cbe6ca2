"""The latent dashboard: how strongly a latent fires, in whose texts it fires most, and which tokens it writes."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from emovec_sae.charts import theme
from emovec_sae.charts.frames import heading, largest, percent, require, rows, signed, span
from emovec_sae.charts.logit_lens import shown

COLUMNS = ("latent", "label", "panel", "name", "value", "order", "n", "firing_rate")
"""One row a bar: `panel` is ``activation`` (`name` the left edge of the bin, `value` the share of firing tokens),
``emotion`` (passages among the strongest, of n) or ``token`` (score of the decoder row on the unembedding)."""

PANELS = {
    "activation": ("activation", "share of firing tokens (%)"),
    "emotion": ("strongest passages", "passages"),
    "token": ("tokens that it writes", "score (logit)"),
}
"""Heading and axis of each panel."""

_HEIGHT, _MOST, _LOW, _FEW, _FIT = 112, 8, 72, 6, 2
"""Height of a panel, bars in it; both on a narrow page, and the latents that such a page holds."""


def latent_dashboard(frame: pd.DataFrame) -> alt.VConcatChart:
    """Draw a line of three panels for each latent.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`.

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty.
    """
    table = require(frame, COLUMNS, family="latent_dashboard")
    wide = theme.page() > 500
    each = (theme.page() - 2 * theme.PADDING - (44 + 96 + 96 + 2 * 14 if wide else 96)) // (3 if wide else 1)
    lines: list[Any] = []
    fit = table["latent"].nunique() if wide else _FIT
    for latent, part in list(table.groupby("latent", sort=False))[:fit]:
        panels = [_panel(part[part["panel"] == name], name, each) for name in PANELS if (part["panel"] == name).any()]
        row = alt.hconcat(*panels, spacing=14) if wide else alt.vconcat(*panels, spacing=8)
        rate = percent(float(part["firing_rate"].iloc[0]), 1)
        words = str(part["label"].iloc[0])
        text = f"{words if words.startswith('L') else f'L{latent}  {words}'}: fires on {rate} of tokens"
        lines.append(row.properties(title=alt.Title(text=text, fontSize=11, anchor="start", offset=5)))
    passages, tokens = (span(table.loc[table["panel"] == name, "n"]) for name in ("emotion", "activation"))
    title = heading(
        f"{table['latent'].nunique()} latents that lead the emotion vectors",
        f"n = {tokens} firing tokens and {passages} strongest passages a latent; counts and scores without intervals",
        f"the first {fit} are drawn, all are in the table of the figure" if fit < table["latent"].nunique() else "",
    )
    return theme.dress(alt.vconcat(*lines, spacing=20).properties(title=title))


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="latent_dashboard")
    parts: list[str] = []
    for latent, part in table.groupby("latent", sort=False):
        text = f"L{latent} fires on {percent(float(part['firing_rate'].iloc[0]), 1)} of tokens"
        emotions = part[part["panel"] == "emotion"]
        if len(emotions):
            top = largest(emotions, emotions["value"])
            text += f", {int(top['value'])} of its {int(top['n'])} strongest passages are of {top['name']}"
        tokens = part[part["panel"] == "token"].sort_values("order")
        if len(tokens):
            words = ", ".join(f"\u2018{shown(str(token))}\u2019" for token in tokens["name"].head(3))
            text += f", and it writes {words}"
        parts.append(text)
    return (
        f"Latents by the activations, the passages and the tokens: {'; '.join(parts)}. Passages are the strongest of "
        "the recorded texts, one at most a text, and tokens are read off the unembedding; neither shows what the "
        "latent "
        "does on weaker tokens or other texts."
    )


def _panel(part: pd.DataFrame, name: str, wide: int) -> alt.LayerChart | alt.Chart:
    heads, axis = PANELS[name]
    head = alt.Title(text=heads, fontSize=9.5, fontWeight="normal", color=theme.MUTED, offset=3)
    if name == "activation":
        return _histogram(part, axis, wide).properties(title=head)
    part = part.sort_values("order").head(_MOST if theme.page() > 500 else _FEW)
    part = part.assign(shown=[shown(str(one)) for one in part["name"]])
    part["said"] = [f"{value:g}" if name == "emotion" else signed(value) for value in part["value"]]
    # Two tokens may look the same once their spaces are gone.
    part["bar"] = part["shown"] + part.groupby("shown").cumcount().map(lambda count: "\u200b" * count)
    whole = 1 if name == "emotion" else alt.Undefined
    counted = alt.Axis(tickCount=3, tickMinStep=whole, titleFontSize=9.5, grid=False, format=".3~g")
    base = alt.Chart(rows(part)).encode(
        x=alt.X("value:Q", title=axis, axis=counted),
        y=alt.Y(
            "bar:N", sort=list(part["bar"]), title=None,
            axis=alt.Axis(ticks=False, domain=False, labelLimit=84, minExtent=84, labelFontSize=9.5),
            scale=alt.Scale(paddingInner=0.25),
        ),
        tooltip=["name:N", "value:Q", "n:Q"],
    )  # fmt: skip
    colour = theme.POSITIVE if name == "emotion" else theme.NEGATIVE
    bars = base.mark_bar(color=colour)
    words = base.mark_text(align="left", dx=3, fontSize=9, color=theme.MUTED, clip=False).encode(text="said:N")
    return alt.LayerChart(layer=[bars, words]).properties(width=wide - 24, height=_tall(), title=head)


def _tall() -> int:
    return _HEIGHT if theme.page() > 500 else _LOW


def _histogram(part: pd.DataFrame, axis: str, wide: int) -> alt.Chart:
    part = part.assign(left=part["name"].astype(float), percent=100 * part["value"]).sort_values("left")
    step = float(part["left"].diff().median()) if len(part) > 1 else 1.0
    part["right"] = part["left"] + 0.94 * step
    return (
        alt.Chart(rows(part))
        .mark_rect(color=theme.OTHER)
        .encode(
            x=alt.X(
                "left:Q", title="activation", scale=alt.Scale(nice=False, zero=True),
                axis=alt.Axis(tickCount=4, titleFontSize=9.5, grid=False),
            ),
            x2="right:Q",
            y=alt.Y("percent:Q", title=axis, axis=alt.Axis(tickCount=3, titleFontSize=9.5)),
            y2=alt.datum(0),
            tooltip=["left:Q", "percent:Q", "n:Q"],
        )
        .properties(width=wide, height=_tall())
    )  # fmt: skip
