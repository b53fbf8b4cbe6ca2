"""k-sparse probing: how well a few latents tell emotions apart, beside as many residual dimensions."""

from __future__ import annotations

import altair as alt
import pandas as pd

from emovec_sae.charts.curves import curves
from emovec_sae.charts.frames import interval, largest, require, signed, span

COLUMNS = ("features", "k", "value", "low", "high", "n")
"""One row a (what the probe reads, how many of it); `value` is the mean AUROC, n counts emotions."""

WHOLE, GAIN = "whole residual", "latents minus residual dimensions"
"""Rows that are drawn as a ceiling, and that are only told."""

PICK = "series"


def probing(frame: pd.DataFrame) -> alt.LayerChart:
    """Draw the means against k, the whole residual as the ceiling.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`.

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty.
    """
    table = require(frame, COLUMNS, family="probing").rename(columns={"features": "series", "k": "x"})
    table = table[table["series"] != GAIN]
    few = table[table["series"] != WHOLE]
    ceiling = table[table["series"] == WHOLE]
    flat = [ceiling.assign(x=size) for size in sorted(few["x"].unique())]
    return curves(
        pd.concat([few, *flat], ignore_index=True).assign(null=0.5),
        x_title="how many the probe reads (k)",
        y_title="AUROC, held-out groups",
        log_x=True,
        title="k-sparse probing of emotions",
        subtitle="means over emotions; dotted: chance",
    )


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="probing")
    parts: list[str] = []
    for name, own in table.groupby("features", sort=False):
        last = largest(own, own["k"])
        at = "" if name == WHOLE else f" at k = {int(last['k'])}"
        parts.append(f"{name} {signed(last['value'])} ({interval(last['low'], last['high'])}){at}")
    return (
        "Area under the ROC curve of probes that tell an emotion from the others on held-out groups, means over n = "
        f"{span(table['n'])} emotions: {'; '.join(parts)}; chance is 0.50. What a probe can read, the model need not "
        "use."
    )
