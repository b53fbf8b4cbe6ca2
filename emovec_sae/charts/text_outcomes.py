"""Text outcomes: how far each arm's texts went the emotion's way, with and without words of emotion."""

from __future__ import annotations

import altair as alt
import pandas as pd

from emovec_sae.charts import theme
from emovec_sae.charts.frames import heading, interval, require, rows, signed, span

COLUMNS = ("outcome", "masked", "level", "arm", "value", "low", "high", "n")
"""One row an outcome, masked or not, and arm, all of one level; `n` is the number of emotions or prompts."""

UNITS = {"valence": "VADER valence", "probe": "probe, z-score", "judge": "judge, log-odds (nats)"}
_AS_THEY_ARE, _MASKED = "as they are", "without words of emotion"
_LINE = 30
_NARROW = 500
"""Pixels up to which panels stand below each other."""


def text_outcomes(frame: pd.DataFrame) -> alt.VConcatChart:
    """Draw the mean signed change, a panel an outcome, a line an arm.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`.

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty.
    """
    table = require(frame, COLUMNS, family="text_outcomes")
    table = table.assign(texts=table["masked"].map({False: _AS_THEY_ARE, True: _MASKED}))
    arms = _order([str(arm) for arm in table["arm"].unique()])
    outcomes = [str(name) for name in table["outcome"].unique()]
    beside = theme.page() > _NARROW  # a single column has room for one panel a row
    across = len(outcomes) if beside else 1
    width = round((theme.page() - 2 * theme.PADDING - 150) / across) - 18
    panels = [
        _panel(table[table["outcome"] == name], name, arms, min(width, 260), first=number == 0 or not beside)
        for number, name in enumerate(outcomes)
    ]
    title = heading(
        "What the generated texts change" + (", in the emotion\u2019s direction" if beside else ""),
        f"mean change against the model\u2019s own texts, 95 % intervals; n = {span(table['n'])}",
        f"doses matched at {table['level'].iloc[0]:g} nats of KL on neutral text; an instruction has no dose",
    )
    rows_of = [alt.hconcat(*panels, spacing=18)] if beside else panels
    return theme.dress(alt.vconcat(*rows_of, spacing=18).properties(title=title))


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="text_outcomes")
    raw = table[table["arm"] == "raw"]
    told = [
        f"{row['outcome']}{' without words of emotion' if row['masked'] else ''} {signed(float(row['value']))} "
        f"({interval(row['low'], row['high'])})"
        for row in raw.to_dict("records")
    ]
    return (
        "Mean change of generated texts against the model's own in the emotion's direction, at "
        f"{table['level'].iloc[0]:g} nats of KL, n = {span(table['n'])}. Raw vectors: {'; '.join(told) or 'not run'}."
    )


def _panel(part: pd.DataFrame, name: str, arms: list[str], width: int, *, first: bool) -> alt.LayerChart:
    axis = alt.Axis(title=None, labels=first, ticks=False, domain=False, grid=False, labelLimit=200)
    kinds = [_AS_THEY_ARE, _MASKED]
    colour = alt.Color("texts:N", scale=alt.Scale(domain=kinds, range=[theme.NEGATIVE, theme.POSITIVE]),
                       legend=alt.Legend(title=None, orient="bottom", symbolOpacity=1))  # fmt: skip
    base = alt.Chart(rows(part)).encode(
        y=alt.Y("arm:N", sort=arms, axis=axis, scale=alt.Scale(domain=arms)),
        yOffset=alt.YOffset("texts:N", sort=kinds, scale=alt.Scale(domain=kinds, paddingOuter=0.35)),
        color=colour,
    )
    x = alt.X("value:Q", axis=alt.Axis(title=UNITS.get(name, name), tickCount=4, grid=True))
    layers = [
        alt.Chart(rows(part.head(1))).mark_rule(color=theme.RULE, strokeWidth=0.9).encode(x=alt.datum(0)),
        base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=2).encode(x=alt.X("low:Q"), x2="high:Q"),
        base.mark_point(filled=True, size=46, opacity=1).encode(
            x=x, tooltip=["outcome:N", "arm:N", "texts:N", "value:Q", "low:Q", "high:Q", "n:Q"]
        ),
    ]
    return alt.LayerChart(layer=layers).properties(width=width, height=_LINE * len(arms))


def _order(arms: list[str]) -> list[str]:
    """Known arms first, the instruction last."""
    names = list(theme.arm_styles([arm for arm in arms if arm != "instruction"]))
    return [*names, *(arm for arm in arms if arm == "instruction")]
