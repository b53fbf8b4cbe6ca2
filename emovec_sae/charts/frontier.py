"""The effect-damage frontier: what each arm gains, for what it costs on neutral text."""

from __future__ import annotations

import altair as alt
import pandas as pd

from emovec_sae.charts import theme
from emovec_sae.charts.dose_curves import arm_channels
from emovec_sae.charts.frames import heading, interval, largest, require, rows, signed, span

COLUMNS = ("arm", "damage", "effect", "low", "high", "n")
"""One row an (arm, dose); `effect` is a mean over emotions in nats of log-odds with its interval, n counts emotions."""

PICK = "arm"
_WIDTH, _HEIGHT = 520, 330


def frontier(frame: pd.DataFrame, *, damage: str = "KL on neutral text (nats)") -> alt.LayerChart:
    """Draw effect against damage, a line an arm; up and left is better.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`.
    damage
        What the horizontal axis measures, with its unit.

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty.
    """
    table = require(frame, COLUMNS, family="frontier")
    arms = [str(arm) for arm in table["arm"].unique()]
    wide = theme.room(_WIDTH, beside=68)
    colour, dash, shape = arm_channels(arms, columns=max(2, wide // 100))
    base = alt.Chart(rows(table)).encode(x=_damage(table, damage), color=colour)
    zero = alt.Chart(rows(pd.DataFrame({"zero": [0.0]}))).mark_rule(color=theme.RULE).encode(y="zero:Q")
    layers = [zero, *(layer for mark in _marks(base, arms, dash, shape) for layer in mark)]
    title = heading(
        "What the arms gain, for what they cost",
        f"n = {span(table['n'])} emotions a point; whiskers: 95 % intervals over emotions; up and left is better",
        "arms at one dose stand a little apart, so that none hides another",
    )
    return theme.dress(alt.LayerChart(layer=layers).properties(width=wide, height=_HEIGHT, title=title))


def _damage(table: pd.DataFrame, title: str) -> alt.X:
    low, high = float(table["damage"].min()), float(table["damage"].max())
    steps = [part * 10.0**power for power in range(-4, 4) for part in (1, 2, 5)]
    inside = [step for step in steps if 0.9 * low <= step <= 1.1 * high]
    axis = alt.Axis(grid=False, format="~g", values=inside if len(inside) > 1 else alt.Undefined)
    return alt.X(
        "damage:Q", title=title, axis=axis,
        scale=alt.Scale(type="log" if low > 0 else "sqrt", nice=False, padding=18),
    )  # fmt: skip


def _marks(base: alt.Chart, arms: list[str], dash: alt.StrokeDash, shape: alt.Shape) -> list[list[alt.Chart]]:
    """Whisker, line and points of each arm, the arms a little apart."""
    y = alt.Y("effect:Q", title="change of log-odds of own words (nats)")
    tips = ["arm:N", "damage:Q", "effect:Q", "low:Q", "high:Q", "n:Q"]
    found: list[list[alt.Chart]] = []
    for at, arm in enumerate(theme.arm_styles(arms)):
        own, aside = base.transform_filter(alt.FieldEqualPredicate(field="arm", equal=arm)), 4 * at - 2 * len(arms) + 2
        bars = own.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=1.2, opacity=0.75, xOffset=aside)
        points = own.mark_point(filled=True, size=36, opacity=1, xOffset=aside)
        found.append(
            [
                bars.encode(y=alt.Y("low:Q"), y2="high:Q"),
                own.mark_line(strokeWidth=1.6, xOffset=aside).encode(y=y, strokeDash=dash),
                points.encode(y=y, shape=shape, tooltip=tips),
            ]
        )
    return found


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="frontier")
    parts: list[str] = []
    for arm in theme.arm_styles([str(arm) for arm in table["arm"].unique()]):
        own = table[table["arm"] == arm]
        row = largest(own, own["damage"])
        ends = interval(row["low"], row["high"])
        parts.append(f"{arm} {signed(row['effect'])} ({ends}; n = {int(row['n'])}) at {row['damage']:.2g}")
    return (
        f"Mean effect on the emotions' own words against the damage done to neutral text, by arm: {'; '.join(parts)}, "
        "each at its largest damage. Intervals are over emotions, and arms may have been asked of different numbers of "
        "them, so that only arms with the same n can be compared. One measure of damage says nothing of the others."
    )
