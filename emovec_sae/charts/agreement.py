"""Agreement of methods: how many of their first k latents any two of them share."""

from __future__ import annotations

import altair as alt
import pandas as pd

from emovec_sae.charts.frames import interval, largest, require, signed, span
from emovec_sae.charts.matrix import matrix

COLUMNS = ("first", "second", "overlap", "low", "high", "expected", "n")
"""One row a pair of methods; `expected` is the overlap by chance, n counts emotions."""


def agreement(frame: pd.DataFrame, *, k: int | None = None, n_latents: int | None = None) -> alt.LayerChart:
    """Draw the pairs as a heat map, each pair once on either side of the diagonal.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`.
    k, n_latents
        Latents a method selects, and latents that could be selected, for the heading where they are known.

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty.
    """
    table = require(frame, COLUMNS, family="agreement")
    first = "" if k is None else f"the first {k} latents of each; "
    among = "" if n_latents is None else f" ({n_latents:,} latents)"
    names = list(dict.fromkeys([*table["first"], *table["second"]]))
    there = table.rename(columns={"first": "row", "second": "column", "overlap": "value"})
    back = table.rename(columns={"second": "row", "first": "column", "overlap": "value"})
    both = pd.concat([there, back], ignore_index=True)
    for side in ("row", "column"):
        both[f"{side}_order"] = both[side].map(names.index)
    return matrix(
        both,
        title="Do the methods choose the same latents?",
        legend="share in common",
        subtitle=f"{first}chance {signed(float(table['expected'].mean()), 4)}{among}",
    )


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="agreement")
    most, least = largest(table, table["overlap"]), largest(table, -table["overlap"])
    return (
        f"Share of latents that two methods have in common, mean over {span(table['n'])} emotions. Most: "
        f"{most['first']} and {most['second']} ({signed(most['overlap'])}, {interval(most['low'], most['high'])}); "
        "least: "
        f"{least['first']} and {least['second']} ({signed(least['overlap'])}, "
        f"{interval(least['low'], least['high'])}); by chance {signed(float(table['expected'].mean()), 4)}. "
        "95 % intervals over emotions in brackets. Methods that agree may share a bias: all start from the same vector "
        "and dictionary."
    )
