"""Stability of a selection: how often a latent is chosen again in resamples of the groups."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from emovec_sae.charts.frames import require, signed
from emovec_sae.charts.score_dots import score_dots

COLUMNS = ("emotion", "rank", "latent", "frequency", "expected")
"""One row a latent of an emotion; `frequency` is the share of resamples that select it, `expected` that by chance."""


def stability(frame: pd.DataFrame, *, emotion: str | None = None, draws: int | None = None) -> alt.VConcatChart:
    """Draw how often the latents of an emotion are selected.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`.
    emotion
        Which; None means the first.
    draws
        How many resamples there were, if that is known.

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty, or has no such emotion.
    """
    table = require(frame, COLUMNS, family="stability")
    own = table[table["emotion"] == (emotion or table["emotion"].iloc[0])]
    own = require(own, COLUMNS, family="stability")
    dots = pd.DataFrame(
        {
            "check": own["emotion"], "number": [f"L{latent}" for latent in own["latent"]], "value": own["frequency"],
            "low": np.nan, "high": np.nan, "null": own["expected"], "n": np.nan if draws is None else draws,
        }
    )  # fmt: skip
    return score_dots(
        dots, title="Selected again in resamples of the groups", x_title="share of resamples that select the latent"
    )


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="stability")
    means = table.groupby("emotion")["frequency"].mean()
    often = int((table["frequency"] >= 0.5).sum())
    return (
        f"Share of resamples of the groups in which a latent is selected again: {signed(float(means.mean()))} on "
        "average "
        f"over {len(means)} emotions ({signed(float(table['expected'].mean()), 4)} by chance); {often} of n = "
        f"{len(table)} selected latents come back in at least half of them. Resamples share texts, so that this is "
        "kinder than new texts would be."
    )
