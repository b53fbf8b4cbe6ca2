"""Representational similarity: whether emotions are alike in the same way at another layer, or in another model."""

from __future__ import annotations

import altair as alt
import pandas as pd

from emovec_sae.charts.frames import interval, largest, require, signed, span
from emovec_sae.charts.matrix import matrix
from emovec_sae.errors import ConfigError
from emovec_sae.sites import Site

COLUMNS = ("one", "other", "r", "low", "high", "n")
"""One row an ordered pair of direction sets; `r` correlates their cosines between emotions, n counts emotions."""


def rsa(frame: pd.DataFrame) -> alt.LayerChart:
    """Draw the matrix; sets that are sites of one stream stand in the order of the layers.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`.

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty.
    """
    table = require(frame, COLUMNS, family="rsa")
    names = list(dict.fromkeys([*table["one"].astype(str), *table["other"].astype(str)]))
    layers = _layers(names)
    shown = {name: str(layers[name][1]) if layers else name for name in names}
    if layers:
        names.sort(key=lambda name: layers[name][1])
    order = {name: place for place, name in enumerate(names)}
    cells = pd.DataFrame(
        {
            "row": table["one"].map(shown), "column": table["other"].map(shown), "value": table["r"],
            "low": table["low"], "high": table["high"], "n": table["n"],
            "row_order": table["one"].map(order), "column_order": table["other"].map(order),
        }
    )  # fmt: skip
    where = f"rows and columns: layers of {next(iter(layers.values()))[0]}; " if layers else ""
    return matrix(
        cells,
        title="Is the similarity of emotions the same elsewhere?",
        legend="correlation of cosines",
        subtitle=f"{where}Pearson\u2019s r over pairs of emotions; the diagonal is 1 by definition",
    )


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="rsa")
    apart = table[table["one"] != table["other"]]
    text = (
        "Correlation of the cosines between emotions in one set of directions with those in another, for "
        f"{table['one'].nunique()} sets (n = {span(table['n'])} emotions)."
    )
    if apart.empty:
        return text
    most, least = largest(apart, apart["r"]), largest(apart, -apart["r"])
    said = [
        f"{word} {row['one']} and {row['other']} ({signed(row['r'])}, {interval(row['low'], row['high'])})"
        for word, row in (("most alike are", most), ("least", least))
    ]
    return (
        f"{text} Median between different sets {signed(float(apart['r'].median()))}; {', '.join(said)}. 95 % intervals "
        "leave one emotion out at a time. Sets of one model share their texts, so that some of the agreement is the "
        "texts\u2019."
    )


def _layers(names: list[str]) -> dict[str, tuple[str, int]]:
    """Stream and layer of each name, if all are sites of one stream."""
    found: dict[str, tuple[str, int]] = {}
    for name in names:
        try:
            site = Site.parse(name)
        except ConfigError:
            return {}
        found[name] = (site.stream, site.layer)
    return found if len({stream for stream, _ in found.values()}) == 1 else {}
