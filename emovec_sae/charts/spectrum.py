"""The spectrum of emotion vectors: the variance of each principal component beside that of random vectors."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from emovec_sae.charts.curves import curves
from emovec_sae.charts.frames import percent, require, signed, span

COLUMNS = ("component", "share", "null", "low", "high", "valence", "arousal", "n")
"""One row a component; `low` and `high` bound the null (isotropic vectors), `valence` and `arousal` are r."""


def spectrum(frame: pd.DataFrame) -> alt.LayerChart:
    """Draw both spectra.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`.

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty.
    """
    table = require(frame, COLUMNS, family="spectrum")
    own = pd.DataFrame({"series": "emotion vectors", "value": table["share"], "low": np.nan, "high": np.nan})
    chance = pd.DataFrame({"series": "random vectors", "value": table["null"], "low": table["low"]})
    chance["high"] = table["high"]
    both = [one.assign(x=table["component"], n=table["n"], null=np.nan) for one in (own, chance)]
    return curves(
        pd.concat(both, ignore_index=True),
        x_title="principal component",
        y_title="share of the variance",
        title="Variance of the vectors by component",
        subtitle="beside as many isotropic random vectors; the vectors themselves have no interval",
    )


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="spectrum").sort_values("component")
    first = table.iloc[0]
    above = int((table["share"] > table["high"]).sum())
    return (
        f"Share of the variance of n = {span(table['n'])} emotion vectors on each principal component. The first holds "
        f"{percent(first['share'], 1)} ({percent(first['null'], 1)} of random vectors), and {above} of {len(table)} "
        "lie "
        "above the 95 % of random vectors. Correlation of the first with the ratings: valence "
        f"{signed(first['valence'])}, arousal {signed(first['arousal'])}. Isotropic vectors are a weak null: any "
        "shared "
        "topic or style would beat it too."
    )
