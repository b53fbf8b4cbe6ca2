"""The k-curves: how near the first k latents come to the vector, beside what their nulls reach."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from emovec_sae.charts import theme
from emovec_sae.charts.curves import curve_panel
from emovec_sae.charts.frames import heading, interval, require, signed, span

COLUMNS = ("method", "series", "k", "value", "low", "high", "n")
"""One row a (method, series, number of latents); the series of a method itself bears its name, the others are nulls."""

PICK = "series"
_HEIGHT = 220


def k_curves(frame: pd.DataFrame, *, quantity: str = "cosine") -> alt.VConcatChart:
    """Draw a panel a method, the method solid and its nulls beside it.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`.
    quantity
        What is on the vertical axis.

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty.
    """
    table = require(frame, COLUMNS, family="k_curves").rename(columns={"k": "x"}).assign(null=np.nan)
    across = 2 if theme.page() > 500 and table["method"].nunique() > 1 else 1
    panels = [
        curve_panel(
            _own_first(part, str(method)), x_title="latents (k)", y_title=quantity, log_x=True,
            size=(430 if across == 1 else 210, _HEIGHT), page=theme.page() // across,
        ).properties(title=alt.Title(text=str(method), fontSize=11, offset=4))
        for method, part in table.groupby("method", sort=False)
    ]  # fmt: skip
    pairs = [alt.hconcat(*panels[at : at + across], spacing=16) for at in range(0, len(panels), across)]
    title = heading(
        f"The {quantity} of the first k latents with the vector, beside its nulls",
        f"n = {span(table['n'])} emotions; bands: of the method 95 % over emotions, of a null 95 % of its draws",
    )
    return theme.dress(alt.vconcat(*pairs, spacing=14).properties(title=title))


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="k_curves")
    parts: list[str] = []
    for method, part in table.groupby("method", sort=False):
        at = part[part["k"] == part["k"].max()]
        own, nulls = at[at["series"] == method], at[at["series"] != method]
        if own.empty:
            continue
        row = own.iloc[0]
        text = f"{method} {signed(row['value'])} ({interval(row['low'], row['high'])}) at k = {int(row['k'])}"
        if len(nulls):
            hardest = nulls.loc[nulls["value"].idxmax()]
            text += f", its hardest null ({hardest['series']}) {signed(hardest['value'])}"
        parts.append(text)
    return (
        f"Closeness of the first k latents to the emotion vector, means over n = {span(table['n'])} emotions: "
        f"{'; '.join(parts)}. Only what lies above the hardest null speaks for the emotion; the rest is what any "
        "target, "
        "or any labelling of these texts, gives. Closeness is geometry and does not say that the latents do what the "
        "vector does."
    )


def _own_first(part: pd.DataFrame, method: str) -> pd.DataFrame:
    return part.assign(own=part["series"] != method).sort_values("own", kind="stable").drop(columns="own")
