"""k90: how many latents do what the raw vector does; their effect over that of the vector, by k."""

from __future__ import annotations

from dataclasses import dataclass

import altair as alt
import numpy as np
import pandas as pd

from emovec_sae.charts import theme
from emovec_sae.charts.frames import heading, require, rows, signed, span

COLUMNS = ("emotion", "selector", "k", "value", "low", "high", "n", "matches")
"""One row an (emotion, selector, k); `value` is the ratio to the raw vector's effect, NaN where that has no sign."""

MATCH = 0.9
"""An arm matches the raw vector where the lower end of its ratio is at least this."""

POOLED = "all emotions"
"""What stands for an emotion in rows that pool all of them; the caption counts single ones."""

PICK = "selector"
_HEIGHT, _LOW, _REACH, _BESIDE = 105, 80, 2.0, 14


@dataclass(frozen=True)
class _Place:
    """Size of a panel, whether its scale goes below 0, whether it is the first of its row, the last of its column."""

    wide: int
    tall: int
    below: bool
    first: bool
    last: bool


def k90(frame: pd.DataFrame) -> alt.VConcatChart:
    """Draw the ratios against k, a panel an emotion, a line a selector; filled points match the raw vector.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`.

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty.
    """
    table = require(frame, COLUMNS, family="k90")
    emotions = list(dict.fromkeys(table["emotion"].astype(str)))
    selectors = list(dict.fromkeys(table["selector"].astype(str)))
    many, narrow = len(emotions) > 8, theme.page() <= 500
    across = min((4 if many else 2) if narrow else (6 if many else 4), len(emotions))
    wide = min(round((theme.page() - 2 * theme.PADDING - 52 - _BESIDE * (across - 1)) / across), 260)
    ends = table[["low", "value"]].to_numpy(dtype=float)
    below = bool((ends[~np.isnan(ends)] < 0).any())  # one scale for all panels, so that they can be compared
    sizes, tall = sorted(table["k"].unique()), _LOW if many and narrow else _HEIGHT
    panels = [
        _panel(
            table[table["emotion"] == emotion], emotion, selectors, sizes,
            _Place(wide, tall, below, first=at % across == 0, last=at + across >= len(emotions)),
        )
        for at, emotion in enumerate(emotions)
    ]  # fmt: skip
    lines = [
        alt.hconcat(*panels[at : at + across], spacing=_BESIDE, bounds="flush") for at in range(0, len(panels), across)
    ]
    title = heading(
        "How many latents do what the vector does?",
        f"n = {span(table['n'])} prompts a point; bars: 95 % intervals; cut at "
        f"{signed(-_REACH, 0)} and {signed(_REACH, 0)}",
        f"dashed: {MATCH:g} of the raw vector\u2019s effect; a filled point has its whole interval above it",
    )
    return theme.dress(alt.vconcat(*lines, spacing=14).properties(title=title))


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="k90")
    table = table[table["emotion"] != POOLED] if (table["emotion"] != POOLED).any() else table
    parts: list[str] = []
    for selector, part in table.groupby("selector", sort=False):
        known = part.dropna(subset=["value"])
        reached = known[known["matches"].astype(bool)].groupby("emotion")["k"].min()
        words = ", ".join(f"{emotion} {int(k)}" for emotion, k in reached.items())
        parts.append(
            f"by {selector} {len(reached)} of the {known['emotion'].nunique()} emotions that have a ratio "
            f"are matched with at most {int(part['k'].max())} latents" + (f" (k90: {words})" if words else "")
        )
    without = table["emotion"].nunique() - table.dropna(subset=["value"])["emotion"].nunique()
    lacking = f" {without} emotions have no ratio: the interval of the raw effect holds 0." if without else ""
    return (
        f"Effect of k latents over that of the raw vector at the same dose (n = {span(table['n'])} prompts a point): "
        f"{'; '.join(parts)}.{lacking} A point matches where the lower end of its 95 % interval is at least {MATCH:g}; "
        "one that does not match may only have too few prompts."
    )


def _panel(part: pd.DataFrame, emotion: str, selectors: list[str], sizes: list[int], place: _Place) -> alt.LayerChart:
    wide, tall = place.wide, place.tall
    limits = {end: part[end].clip(-_REACH, _REACH) for end in ("low", "high", "value")}
    part = part.assign(**{f"{end}_cut": column for end, column in limits.items()})
    x = alt.X(
        "k:Q",
        title="latents (k)" if place.last else None,
        scale=alt.Scale(type="log", domain=[min(sizes), max(max(sizes), min(sizes) + 1)], nice=False, padding=10),
        axis=alt.Axis(values=sizes, format="d", grid=False, labelOverlap="greedy", labelSeparation=3),
    )
    y_title = "ratio to raw" if place.first else None
    scale = alt.Scale(domain=[-_REACH if place.below else 0.0, _REACH], nice=False)
    # Numbers of the other panels are there and not seen: so all titles stand at one height.
    axis = alt.Axis(tickCount=4, labelOpacity=1 if place.first else 0, ticks=place.first)
    y = alt.Y("value_cut:Q", title=y_title, scale=scale, axis=axis)
    styles = [theme.LINES[at % len(theme.LINES)] for at in range(len(selectors))]
    legend = alt.Legend(title="chosen by", orient="top", symbolStrokeWidth=0) if len(selectors) > 1 else None
    colour = alt.Color("selector:N", scale=alt.Scale(domain=selectors, range=[s[0] for s in styles]), legend=legend)
    dashes = alt.Scale(domain=selectors, range=[list(s[1]) for s in styles])
    dash = alt.StrokeDash("selector:N", scale=dashes, legend=legend)  # all become one legend, asked for alike
    head = alt.Title(text=emotion, fontSize=10.5, offset=4, frame="group")
    rule = alt.Chart(rows(pd.DataFrame({"ratio": [MATCH]}))).mark_rule(color=theme.MUTED, strokeDash=[4, 3])
    layers: list[alt.Chart] = [rule.encode(y=alt.Y("ratio:Q", title=y_title, scale=scale, axis=axis))]
    if part["value"].isna().all():
        said = ["no ratio: the raw effect", "may be 0"] if wide > 120 else ["no ratio:", "the effect", "may be 0"]
        for number, line in enumerate(said):
            words = alt.Chart(rows(pd.DataFrame({"text": [line]}))).mark_text(fontSize=9.5, color=theme.MUTED)
            layers.append(
                words.encode(x=alt.value(wide / 2), y=alt.value(tall - 14 * (len(said) - number)), text="text:N")
            )
        blank = (
            alt.Chart(rows(part)).mark_point(opacity=0, size=1).encode(x=x, y=alt.datum(0, title=y_title, scale=scale))
        )
        return alt.LayerChart(layer=[*layers, blank]).properties(width=wide, height=tall, title=head)
    base = alt.Chart(rows(part.dropna(subset=["value"]))).encode(x=x, color=colour)
    layers += [
        base.mark_rule(strokeWidth=1.2).encode(y=alt.Y("low_cut:Q", title=y_title, scale=scale), y2="high_cut:Q"),
        base.mark_line(strokeWidth=1.5).encode(y=y, strokeDash=dash),
        base.mark_point(size=40, strokeWidth=1.4, opacity=1, fill=theme.BACK).encode(
            y=y, tooltip=["selector:N", "k:Q", "value:Q", "low:Q", "high:Q", "n:Q", "matches:N"]
        ),
        base.transform_filter("datum.matches").mark_point(size=40, opacity=1, filled=True).encode(y=y),
    ]
    return alt.LayerChart(layer=layers).properties(width=wide, height=tall, title=head)
