"""The whole grid of three emotions: every selector, k and dose."""

from __future__ import annotations

import pandas as pd
from pieces import HERE, cell, save

from emovec_sae.interventions.comparison.names import read_name
from emovec_sae.interventions.comparison.result import load_comparison
from experiments.shared import ROOT

LEVEL = 0.1
SIZES = (1, 2, 4, 8, 16, 32, 64)


def publish_whole() -> pd.DataFrame:
    """Numbers and figures; returns ratios to the raw vectors: level, kind, selector, k, value, low, high, n."""
    found = load_comparison(ROOT / "runs" / "smollm2_whole" / "comparison.parquet")
    levels = sorted(found.effects["level"].dropna().unique())
    table = pd.concat([found.ratios(float(level)).assign(level=level) for level in levels], ignore_index=True)
    table.to_csv(HERE / "smollm2_whole.ratios.csv", index=False, lineterminator="\n")
    named = [(read_name(str(row["arm"])), row) for row in table.to_dict("records")]
    parts = [{"kind": one.kind, "selector": one.selector, "k": one.k, **row} for one, row in named if one is not None]
    grid = pd.DataFrame(parts)
    at = grid[(grid["level"] == LEVEL) & (grid["kind"] == "latents")]
    null = float(table[(table["level"] == LEVEL) & (table["arm"] == "random")]["value"].iloc[0])
    curves = at.rename(columns={"selector": "series", "k": "x"}).assign(null=null)
    save("smollm2_whole_by_k", "curves", curves[["series", "x", "value", "low", "high", "n", "null"]].dropna(), found,
         x_title="latents, k", log_x=True, y_title="effect relative to the raw vector",
         title=f"Which selector, how many latents? SmolLM2, three emotions, {LEVEL:g} nats",
         subtitle="1 is the raw vector; dotted: random directions")  # fmt: skip
    share = grid[(grid["kind"] == "latents") & (grid["selector"] == "share") & grid["k"].isin((1, 4, 16, 64))]
    doses = share.assign(series=[f"k={k}" for k in share["k"]], null=float("nan")).rename(columns={"level": "x"})
    save("smollm2_whole_by_dose", "curves", doses[["series", "x", "value", "low", "high", "n", "null"]].dropna(
         subset=["value"]), found, x_title="KL on neutral text (nats)", log_x=True,
         y_title="effect relative to the raw vector", title="The share of the effect by dose, latents by share",
         subtitle="SmolLM2, three emotions; 1 is the raw vector at the same KL")  # fmt: skip
    return grid


def whole_table(grid: pd.DataFrame) -> list[str]:
    """One row a selector, one column a k, at one dose."""
    at = grid[(grid["level"] == LEVEL) & (grid["kind"] == "latents")]
    told = f"{int(at['n'].max())} clusters, effect relative to the raw vector at {LEVEL:g} nats"
    lines = [f"Whole grid, SmolLM2, {told}:", ""]
    lines += [f"| selector | {' | '.join(f'k = {k}' for k in SIZES)} |", "|---|" + "---|" * len(SIZES)]
    for selector in dict.fromkeys(at["selector"]):
        lines.append(f"| {selector} | {' | '.join(cell(at, selector=selector, k=k) for k in SIZES)} |")
    return lines
