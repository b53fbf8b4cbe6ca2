"""Behaviour: what each emotion does to a battery, a panel a level, beside the range of random directions."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from emovec_sae.charts import theme
from emovec_sae.charts.frames import heading, require, rows, signed, span
from emovec_sae.charts.labels import text_width

COLUMNS = ("arm", "emotion", "level", "value", "low", "high", "n", "random_low", "random_high", "interpreted")
"""One row a condition; the ends of the random directions are NaN where there are none."""

_WIDTH, _LINE = 230, 15
_FIRST = "raw"
RANDOM = "random"
"""The arm whose range is the band."""


def behaviour(frame: pd.DataFrame, *, title: str = "Behaviour under steering", subtitle: str = "") -> alt.HConcatChart:
    """Draw effects by emotion, sorted by the largest level's first arm.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`; at most four arms.
    title, subtitle
        Words.

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty.
    """
    table = require(_effects(frame), COLUMNS, family="behaviour").assign(emotion=lambda one: one["emotion"].astype(str))
    arms = _arms(table)
    last = table[_at(table, table["level"].max()) & (table["arm"] == arms[0])]
    order = list(last.sort_values("value", ascending=False)["emotion"])
    order += [name for name in dict.fromkeys(table["emotion"]) if name not in order]
    ends = table[["low", "high", "value", "random_low", "random_high"]].to_numpy(dtype=float)
    margin = 0.04 * max(float(np.nanmax(ends) - np.nanmin(ends)), 1e-6)
    domain = [min(0.0, float(np.nanmin(ends))) - margin, max(0.0, float(np.nanmax(ends))) + margin]
    levels = sorted(table["level"].unique(), key=lambda one: (np.isnan(one), one))
    names = round(max(text_width(name, 10) for name in order)) + 16
    wide = min(_WIDTH, (theme.room(theme.page(), beside=names + 12) - 14 * (len(levels) - 1)) // len(levels))
    panels = [
        _panel(table[_at(table, level)], float(level), arms, order, domain, wide, names=number == 0)
        for number, level in enumerate(levels)
    ]
    about = f"bars: 95 %; band: random directions; n = {span(table['n'])} items"
    told = heading(title, subtitle, f"dots: change of the log-odds of the behaviour, {about}")
    return theme.dress(alt.hconcat(*panels, spacing=14).properties(title=told))


def _panel(
    part: pd.DataFrame, level: float, arms: list[str], order: list[str], domain: list[float], wide: int, *, names: bool
) -> alt.LayerChart:
    scale = alt.Scale(domain=domain, nice=False)
    x = alt.X("value:Q", scale=scale, title="change of log-odds, nats")
    shown = alt.Axis(labels=names, ticks=False, domain=False, grid=False, title=None)
    offset = alt.YOffset("arm:N", sort=arms) if len(arms) > 1 else alt.YOffset()
    y = alt.Y("emotion:N", sort=order, axis=shown, scale=alt.Scale(paddingInner=0.25))
    colours = [theme.NEGATIVE, theme.POSITIVE, theme.OTHER, theme.MUTED][: len(arms)]
    legend = alt.Legend(title=None, orient="bottom") if len(arms) > 1 else None
    colour = alt.Color("arm:N", scale=alt.Scale(domain=arms, range=colours), legend=legend)
    shape = alt.Shape(
        "arm:N", scale=alt.Scale(domain=arms, range=["circle", "diamond", "square", "triangle-up"][: len(arms)]),
        legend=legend,
    )  # fmt: skip
    keep = ["arm", "emotion", "value", "low", "high", "n"]
    base = alt.Chart(rows(part[keep])).encode(y=y)
    if len(arms) > 1:
        base = base.encode(yOffset=offset)
    layers: list[alt.Chart] = []
    band = part[["random_low", "random_high"]].dropna().head(1)
    if len(band):
        shade = alt.Chart(rows(band)).mark_rect(color=theme.OTHER, opacity=0.16, aria=False)
        layers.append(shade.encode(x=alt.X("random_low:Q", scale=scale), x2="random_high:Q"))
    zero = alt.Chart(rows(pd.DataFrame({"zero": [0.0]}))).mark_rule(color=theme.RULE, strokeWidth=0.8)
    layers.append(zero.encode(x=alt.X("zero:Q", scale=scale)))
    bars = base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=1.3)
    layers.append(bars.encode(x=alt.X("low:Q", scale=scale), x2="high:Q", color=colour))
    points = base.mark_point(filled=True, size=34, opacity=1)
    layers.append(
        points.encode(
            x=x, color=colour, shape=shape, tooltip=["arm:N", "emotion:N", "value:Q", "low:Q", "high:Q", "n:Q"]
        )
    )
    head = "own doses" if np.isnan(level) else f"KL {level:g} nats{' on neutral text' if wide > 160 else ''}"
    height = max(3, len(order)) * _LINE * (1.0 if len(arms) < 2 else 1.25)
    return alt.LayerChart(layer=layers).properties(
        width=wide, height=height, title=alt.Title(text=head, fontSize=11, anchor="start", frame="group", offset=4)
    )


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(_effects(frame), COLUMNS, family="behaviour")
    arm = _arms(table)[0]
    first = table[table["arm"] == arm].sort_values(["level", "emotion"]).reset_index(drop=True)
    most = first.iloc[int(first["value"].abs().to_numpy().argmax())]
    told = "" if first["interpreted"].all() else " The battery has no head-room on this model: not interpreted."
    return (
        f"{len(first)} conditions of the arm {arm}, n = {span(table['n'])} items each; the largest "
        f"change is {signed(most['value'])} nats ({signed(most['low'])} to {signed(most['high'])}, "
        f"{most['emotion']}).{told}"
    )


def _effects(frame: pd.DataFrame) -> pd.DataFrame:
    """The emotions' rows: random directions are drawn as a band, which every row carries."""
    return frame[frame["arm"] != RANDOM] if "arm" in frame else frame


def _arms(table: pd.DataFrame) -> list[str]:
    """Arms, the vectors themselves first."""
    return sorted(table["arm"].astype(str).unique(), key=lambda name: (name != _FIRST, name))


def _at(table: pd.DataFrame, level: float) -> pd.Series:
    return table["level"].isna() if np.isnan(level) else table["level"] == level
