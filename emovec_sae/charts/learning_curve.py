"""The learning curve: how many topics directions need."""

from __future__ import annotations

import altair as alt
import pandas as pd

from emovec_sae.charts.curves import curves
from emovec_sae.charts.frames import interval, require, signed, span

COLUMNS = ("measure", "topics", "value", "low", "high", "null", "n")
"""One row a (measure, number of topics); accuracies are shares of texts, a split-half cosine has no unit."""

PICK = "series"


def learning_curve(frame: pd.DataFrame, *, subtitle: str = "") -> alt.LayerChart:
    """Draw a curve a measure, its chance dotted.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`.
    subtitle
        Whose directions.

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty.
    """
    table = require(frame, COLUMNS, family="learning_curve")
    return curves(
        table.rename(columns={"measure": "series", "topics": "x"}),
        x_title="topics fitted on",
        y_title="share of texts, or cosine",
        title="How many topics are enough?",
        subtitle="; ".join(part for part in (subtitle, "dotted: chance") if part),
    )


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="learning_curve")
    parts: list[str] = []
    for measure, own in table.groupby("measure", sort=False):
        own = own.sort_values("topics")
        last = own.iloc[-1]
        text = f"{measure} {signed(last['value'])} ({interval(last['low'], last['high'])}) from {last['topics']} topics"
        if len(own) > 1:
            before = own.iloc[-2]
            gain = signed(float(last["value"] - before["value"]))
            text += f", {gain} more than from {before['topics']}"
        parts.append(text)
    return (
        f"Accuracy on topics that were not fitted on, and agreement of two disjoint halves: {'; '.join(parts)} "
        f"(n = {span(table['n'])}). Bands are 95 % intervals. A curve that still rises at its right end says that more "
        "topics would help; how far, it does not say."
    )
