"""What the parts of the publication share: places, names, a cell of a table, a saved figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from emovec_sae.charts import caption, draw, save_chart
from experiments.shared import ROOT

HERE = Path(__file__).resolve().parent
FIGURES = ROOT / "figures" / "same_work"
RUNS = {"smollm2": "SmolLM2 135M Instruct", "gemma3": "Gemma 3 270M"}
LEVELS = (0.1, 0.5)


def save(name: str, family: str, table: pd.DataFrame, found: Any, **options: Any) -> None:
    """Draw a table of a result into the published figures."""
    chart = draw(family, table, **options)
    facts = {**found.provenance, "figure": name}
    save_chart(chart, FIGURES, name, table=table, provenance=facts, caption=caption(family, table))


def cell(table: pd.DataFrame, **where: object) -> str:
    """The one number of a table where columns have these values, with its interval; a dash where there is none."""
    rows = table
    for column, value in where.items():
        rows = rows[rows[column] == value]
    if rows.empty:
        return "–"
    row = rows.iloc[0]
    return "no ratio" if np.isnan(row["value"]) else f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
