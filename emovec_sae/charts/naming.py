"""Naming against evoking: latents that write an emotion's own word, and latents that call up other words."""

from __future__ import annotations

import altair as alt
import pandas as pd

from emovec_sae.charts import theme
from emovec_sae.charts.frames import require, signed, span
from emovec_sae.charts.scatter import scatter
from emovec_sae.errors import ConfigError

COLUMNS = ("emotion", "latent", "kind", "naming", "valence", "valence_low", "valence_high", "n_prompts")
"""One row a latent of an emotion; `naming` is a z-score in the vocabulary, `valence` nats (NaN: unknown)."""

PICK, ZOOM = "group", True

KINDS = {
    "neither": (theme.OTHER, "circle"),
    "names": (theme.NEGATIVE, "square"),
    "evokes": (theme.POSITIVE, "diamond"),
    "names and evokes": ("#12836d", "triangle-up"),
}
"""Colour and shape of what a latent does, the same in every figure."""


def naming(frame: pd.DataFrame, *, strength: float | None = None) -> alt.LayerChart:
    """Draw evoking against naming, a point a latent of an emotion.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`.
    strength
        Strength at which latents were added, in units of the residual norm, for the heading.

    Raises
    ------
    ConfigError
        If columns are missing, the table is empty, or no latent has a number of evoking.
    """
    known = require(frame, COLUMNS, family="naming").dropna(subset=["valence"])
    if known.empty:
        raise ConfigError("nothing to draw: no emotion has words of its side of valence in this tokenizer")
    points = pd.DataFrame(
        {
            "label": known["emotion"] + " L" + known["latent"].astype(str),
            "x": known["naming"], "y": known["valence"], "low": known["valence_low"], "high": known["valence_high"],
            "group": known["kind"],
        }
    )  # fmt: skip
    dose = f"latents added at {strength:g} of the residual norm, " if strength is not None else ""
    return scatter(
        points,
        x_title="naming: own words\u2019 logit (z-score among the vocabulary)",
        y_title="evoking: other words of the same valence (nats)",
        title="Naming against evoking",
        styles=KINDS,
        subtitle=f"{dose}own words masked; {span(known['n_prompts'])} prompts a point",
    )


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="naming")
    kinds = table["kind"].value_counts()
    counted = ", ".join(f"{int(count)} {kind}" for kind, count in kinds.items())
    r = float(table["naming"].corr(table["valence"]))
    return (
        f"Latents of {table['emotion'].nunique()} emotions (n = {len(table)} pairs of emotion and latent): {counted}. "
        f"Naming and evoking correlate with r = {signed(r)}. Bars are 95 % intervals over {span(table['n_prompts'])} "
        "prompts. A latent is one of many that are added together in an emotion; alone it may do something else."
    )
