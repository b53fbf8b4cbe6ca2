"""The whole grid of three emotions: every selector, k and dose."""

from __future__ import annotations

import pandas as pd
from pieces import HERE, cell, save

from emovec_sae.interventions.comparison.names import read_name
from emovec_sae.interventions.comparison.result import Comparison, load_comparison
from emovec_sae.stats.bootstrap import bootstrap_mean
from experiments.shared import ROOT

LEVEL = 0.1
SIZES = (1, 2, 4, 8, 16, 32, 64)


def publish_whole() -> pd.DataFrame:
    """Numbers and figures; returns one row an arm and level: kind, selector, k, value, low, high, n, explained."""
    found = load_comparison(ROOT / "runs" / "smollm2_whole" / "comparison.parquet")
    table = effects(found)
    table.to_csv(HERE / "smollm2_whole.csv", index=False, lineterminator="\n")
    at = table[(table["level"] == LEVEL) & (table["kind"] != "")]
    names = [row["selector"] if row["kind"] == "latents" else row["kind"] for row in at.to_dict("records")]
    order = list(dict.fromkeys(names))
    cells = at.assign(row=names, column=[f"k={k}" for k in at["k"]], row_order=[order.index(one) for one in names])
    raw = cell(table[table["level"] == LEVEL], arm="raw")
    save("smollm2_whole_by_k", "matrix", cells.assign(column_order=[SIZES.index(k) for k in at["k"]]), found,
         title="Which selector, how many latents? SmolLM2, three emotions", diverging=True, legend="change (nats)",
         subtitle=f"change of the own words\u2019 log-odds at {LEVEL:g} nats of KL; raw vectors {raw}")  # fmt: skip
    share = table[(table["kind"] == "latents") & (table["selector"] == "share") & table["k"].isin((4, 16))]
    doses = pd.concat([table[table["arm"].isin(("raw", "random"))], share])
    doses = doses.assign(series=doses["arm"], null=0.0).rename(columns={"level": "x"})
    columns = ["series", "x", "value", "low", "high", "n", "null"]
    save("smollm2_whole_by_dose", "curves", doses[columns], found, x_title="KL on neutral text (nats)", log_x=True,
         y_title="change of the own words\u2019 log-odds (nats)", title="What more of the same does, latents by share",
         subtitle="SmolLM2, three emotions; intervals over prompts; dotted: 0")  # fmt: skip
    return table


def effects(found: Comparison) -> pd.DataFrame:
    """Mean effect of each arm and level on the own words over the emotions that have all arms, intervals over prompts.

    The raw vectors of two of the three emotions have no clear effect of their own, so that ratios are not determined.
    """
    arms = found.effects[found.effects["arm"].map(lambda arm: read_name(str(arm)) is not None)]
    emotions = sorted(arms["emotion"].dropna().unique())
    own = found.effects[found.effects["scored"].isin(emotions)]
    own = own[(own["emotion"] == own["scored"]) | own["emotion"].isna()]
    rows = []
    for (arm, level), some in own.groupby(["arm", "level"], sort=False):
        mean = bootstrap_mean(some["effect"].to_numpy(float), some["prompt"].to_numpy(), seed=0)
        named = read_name(str(arm))
        kinds = ("", "", 0) if named is None else (named.kind, named.selector, named.k)
        told = found.doses[(found.doses["arm"] == arm) & (found.doses["level"] == level)]
        told = told[told["emotion"].isin(emotions)]["explained_kl"].astype(float)
        rows.append((arm, level, *kinds, mean.value, mean.low, mean.high, mean.clusters, told.mean()))
    columns = ["arm", "level", "kind", "selector", "k", "value", "low", "high", "n", "explained_kl"]
    return pd.DataFrame(rows, columns=columns)


def whole_table(table: pd.DataFrame) -> list[str]:
    """One row a selector, one column a k, at one dose; then what is no selector of latents."""
    at = table[table["level"] == LEVEL]
    told = f"change of the own words' log-odds (nats) at {LEVEL:g} nats, over {int(at['n'].max())} prompts"
    lines = [f"Whole grid, SmolLM2, three emotions (hopeful, jealous, nostalgic), {told}:", ""]
    lines += [f"| selector | {' | '.join(f'k = {k}' for k in SIZES)} |", "|---|" + "---|" * len(SIZES)]
    for kind in ("latents", "clamped", "remainder"):
        some = at[at["kind"] == kind]
        for selector in dict.fromkeys(some["selector"]):
            name = selector if kind == "latents" else kind
            lines.append(f"| {name} | {' | '.join(cell(some, selector=selector, k=k) for k in SIZES)} |")
    rest = ", ".join(f"{arm} {cell(at, arm=arm)}" for arm in at.loc[at["kind"] == "", "arm"])
    return [*lines, "", f"Beside them: {rest}."]
