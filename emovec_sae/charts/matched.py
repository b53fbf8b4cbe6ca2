"""Latents found again in another SAE: the share that is matched above each threshold, beside what chance gives."""

from __future__ import annotations

import altair as alt
import pandas as pd

from emovec_sae.charts import theme
from emovec_sae.charts.frames import heading, require, rows, signed, span
from emovec_sae.charts.labels import spread

COLUMNS = ("kind", "threshold", "value", "low", "high", "n", "null")
"""One row a (kind, threshold); `kind` is cosine or correlation, `null` the share that chance gives."""

_STYLES = {"cosine": (theme.NEGATIVE, [1, 0]), "correlation": (theme.POSITIVE, [6, 3])}
_NAMES = {"cosine": "cosine of decoder rows", "correlation": "correlation of activations"}
_WIDTH, _HEIGHT = 360, 230


def matched(frame: pd.DataFrame, *, title: str = "Latents found again in another SAE") -> alt.LayerChart:
    """Draw a curve a kind, with its interval; thin dotted lines are the nulls.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`.
    title
        Heading.

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty.
    """
    table = require(frame, COLUMNS, family="matched")
    x = alt.X("threshold:Q", title="similarity of a pair, at least", scale=alt.Scale(domain=[0, 1]))
    y = alt.Y("value:Q", title="share of latents with a partner", scale=alt.Scale(domain=[0, 1]))
    layers: list[alt.Chart] = []
    for kind, (colour, dash) in _STYLES.items():
        own = table[table["kind"] == kind]
        if own.empty:
            continue
        base = alt.Chart(rows(own)).encode(x=x)
        layers.append(base.mark_area(color=colour, opacity=0.16, aria=False).encode(y=alt.Y("low:Q"), y2="high:Q"))
        layers.append(base.mark_line(color=colour, strokeDash=[1, 3], strokeWidth=1.2).encode(y=alt.Y("null:Q")))
        layers.append(
            base.mark_line(color=colour, strokeDash=dash, strokeWidth=1.8).encode(
                y=y, tooltip=["kind:N", "threshold:Q", "value:Q", "low:Q", "high:Q", "null:Q", "n:Q"]
            )
        )
    layers += _names(table)
    told = heading(title, f"one to one; bands: 95 % Wilson; dotted: chance; n = {span(table['n'])} live latents")
    return theme.dress(alt.LayerChart(layer=[*layers]).properties(width=_wide(), height=_HEIGHT, title=told))


def _wide() -> int:
    return theme.room(_WIDTH, beside=195)


def _names(table: pd.DataFrame) -> list[alt.Chart]:
    """Names at the right ends, pushed apart."""
    ends = table.sort_values("threshold").groupby("kind", sort=False).tail(1).sort_values("value")
    places = spread(ends["value"].tolist(), gap=14 / _HEIGHT, low=0.0, high=1.0)
    found = []
    for kind, place in zip(ends["kind"], places, strict=True):
        mark = alt.Chart(rows(pd.DataFrame({"text": [_NAMES[str(kind)]], "value": [place]})))
        found.append(
            mark.mark_text(align="left", dx=6, color=_STYLES[str(kind)][0], clip=False).encode(
                x=alt.value(_wide()), y=alt.Y("value:Q"), text="text:N"
            )
        )
    return found


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="matched")
    parts = []
    for kind, own in table.groupby("kind", sort=False):
        row = own.iloc[(own["threshold"] - 0.7).abs().argmin()]
        parts.append(
            f"{signed(row['value'])} ({signed(row['low'])} to {signed(row['high'])}; chance {signed(row['null'])}) "
            f"by {_NAMES[str(kind)]} at {row['threshold']:.2f}"
        )
    return (
        f"Share of {span(table['n'])} live latents with a partner, one to one: {'; '.join(parts)}; 95 % Wilson "
        "intervals. A partner points or fires alike; that it does the same is another question."
    )
