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
    kind = "log" if float(table["damage"].min()) > 0 else "sqrt"
    x = alt.X("damage:Q", title=damage, scale=alt.Scale(type=kind, nice=False, padding=12), axis=alt.Axis(grid=False))
    base = alt.Chart(rows(table)).encode(x=x, color=colour)
    y = alt.Y("effect:Q", title="change of log-odds of own words (nats)")
    layers = [
        alt.Chart(rows(pd.DataFrame({"zero": [0.0]}))).mark_rule(color=theme.RULE).encode(y="zero:Q"),
        *_whiskers(base, arms),
        base.mark_line(strokeWidth=1.6).encode(y=y, strokeDash=dash),
        base.mark_point(filled=True, size=36, opacity=1).encode(
            y=y, shape=shape, tooltip=["arm:N", "damage:Q", "effect:Q", "low:Q", "high:Q", "n:Q"]
        ),
    ]
    title = heading(
        "What the arms gain, for what they cost",
        f"n = {span(table['n'])} emotions a point; whiskers: 95 % intervals over emotions; up and left is better",
    )
    return theme.dress(alt.LayerChart(layer=layers).properties(width=wide, height=_HEIGHT, title=title))


def _whiskers(base: alt.Chart, arms: list[str]) -> list[alt.Chart]:
    """Intervals a little apart, so that those of one dose do not hide each other."""
    return [
        base.transform_filter(alt.FieldEqualPredicate(field="arm", equal=arm))
        .mark_rule(strokeWidth=1.2, opacity=0.75, xOffset=3.0 * (at - (len(arms) - 1) / 2))
        .encode(y=alt.Y("low:Q"), y2="high:Q")
        for at, arm in enumerate(theme.arm_styles(arms))
    ]


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
