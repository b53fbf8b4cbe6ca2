"""Publish the comparisons: numbers beside this file and in the README, figures into ``figures/same_work``.

    .venv/bin/python experiments/05_same_work/publish.py

Run from the root of the repository, after ``emovec compare`` of the study files.
"""

from __future__ import annotations

import shutil

import pandas as pd
from pieces import FIGURES, HERE, LEVELS, RUNS, cell, save
from texts import publish_texts, text_table
from whole import publish_whole, whole_table

from emovec_sae.interventions.comparison.names import read_name
from emovec_sae.interventions.comparison.result import Comparison, load_comparison
from emovec_sae.provenance import write_json
from experiments.shared import ROOT, fill_numbers


def ratios(found: Comparison) -> pd.DataFrame:
    """Ratios to the raw vectors at every level, pooled over emotions."""
    return pd.concat([found.ratios(level).assign(level=level) for level in LEVELS], ignore_index=True)


def explained(found: Comparison) -> pd.DataFrame:
    """Explained KL of the latent arms by k, one series a selector, at the lower dose; intervals over emotions."""
    from emovec_sae.stats.bootstrap import bootstrap_mean

    rows = []
    doses = found.doses[(found.doses["level"] == LEVELS[0]) & found.doses["emotion"].notna()]
    for arm, some in doses.groupby("arm"):
        named = read_name(str(arm))
        if named is None or named.kind != "latents":
            continue
        means = some.groupby("emotion")["explained_kl"].mean()
        mean = bootstrap_mean(means.to_numpy(), seed=0)
        rows.append((named.selector, named.k, mean.value, mean.low, mean.high, len(means), 0.0))
    return pd.DataFrame(rows, columns=["series", "x", "value", "low", "high", "n", "null"]).sort_values(["series", "x"])


def by_k(table: pd.DataFrame) -> pd.DataFrame:
    """Ratio by k, one series a selector, at the lower dose; the null is that of random directions."""
    at = table[table["level"] == LEVELS[0]]
    null = float(at.set_index("arm")["value"]["random"])
    named = [(read_name(str(arm)), row) for arm, row in zip(at["arm"], at.to_dict("records"), strict=True)]
    rows = [
        (one.selector, one.k, row["value"], row["low"], row["high"], row["n"], null)
        for one, row in named
        if one is not None and one.kind == "latents"
    ]
    return pd.DataFrame(rows, columns=["series", "x", "value", "low", "high", "n", "null"]).sort_values(["series", "x"])


def publish(stem: str) -> pd.DataFrame:
    """One model."""
    found = load_comparison(ROOT / "runs" / stem / "comparison.parquet")
    table = ratios(found)
    table.to_csv(HERE / f"{stem}.ratios.csv", index=False, lineterminator="\n")
    folds = found.ratios_by_fold(LEVELS[0])
    folds.to_csv(HERE / f"{stem}.folds.csv", index=False, lineterminator="\n")
    single = found.ratios_by_emotion(LEVELS[0])
    single.to_csv(HERE / f"{stem}.emotions.csv", index=False, lineterminator="\n")
    told = {f"{level:g} nats": found.verdict(level) for level in LEVELS}
    write_json(HERE / f"{stem}.json", {"verdict": told, "provenance": found.provenance})
    model = RUNS[stem]
    save(f"{stem}_by_k", "curves", by_k(table), found, x_title="latents, k", log_x=True,
         y_title="effect relative to the raw vector", title=f"{model}: what k latents do at 0.1 nats",
         subtitle="1 is the raw vector; dotted: random directions")  # fmt: skip
    save(f"{stem}_explained", "curves", explained(found), found, x_title="latents, k", log_x=True,
         y_title="explained KL", title=f"{model}: how much of the raw vector\u2019s change they explain",
         subtitle="1 is the raw vector, 0 no change; dotted: 0")  # fmt: skip
    at = table[table["level"] == LEVELS[0]].dropna(subset=["value"])
    at = at.sort_values("arm", key=lambda arms: arms.astype(str).map(order), kind="stable")
    null = float(at.set_index("arm")["value"]["random"])
    dots = at.rename(columns={"arm": "number"}).assign(check=f"{model}, 0.1 nats", null=null)
    save(f"{stem}_arms", "score_dots", dots[["check", "number", "value", "low", "high", "null", "n"]], found,
         title="Effect of every arm relative to the raw vector\u2019s",
         x_title="ratio to the raw vector\u2019s effect")  # fmt: skip
    for arm, name in (("raw", "raw"), ("k=16", "k16")):
        matrix = found.specificity(LEVELS[0], arm).assign(n=found.effects["prompt"].nunique())
        save(f"{stem}_specificity_{name}", "specificity", matrix, found, arm=arm, level=LEVELS[0])
    read = [(read_name(str(arm)), row) for arm, row in zip(single["arm"], single.to_dict("records"), strict=True)]
    k90 = pd.DataFrame(
        [
            {**row, "selector": one.selector, "k": one.k}
            for one, row in read
            if one is not None and one.kind == "latents" and one.selector in ("share", "output score")
        ]
    )
    save(f"{stem}_k90", "k90", k90[["emotion", "selector", "k", "value", "low", "high", "n", "matches"]], found)
    return table


def number_table(tables: dict[str, pd.DataFrame]) -> str:
    """One row an arm, one column a model and level."""
    columns = [(stem, level) for stem in tables for level in LEVELS]
    heads = " | ".join(f"{RUNS[stem]}, {level:g} nats" for stem, level in columns)
    lines = [f"| effect relative to the raw vector | {heads} |", "|---|" + "---|" * len(columns)]
    arms = sorted({str(arm) for table in tables.values() for arm in table["arm"]}, key=order)
    for arm in arms:
        cells = [cell(tables[stem], arm=arm, level=level) for stem, level in columns]
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    return "\n".join(lines)


def order(arm: str) -> tuple[int, str, int, str]:
    """Latents first, then what is left of the vector, then controls."""
    named = read_name(arm)
    if named is None:
        return 9, arm, 0, ""
    return ("latents", "clamped", "remainder").index(named.kind), named.selector, named.k, ""


def main() -> None:
    """Both models."""
    shutil.rmtree(FIGURES, ignore_errors=True)
    tables = {stem: publish(stem) for stem in RUNS if (ROOT / "runs" / stem / "comparison.parquet").is_file()}
    texts = {stem: publish_texts(stem) for stem in RUNS if (ROOT / "runs" / stem / "generated.parquet").is_file()}
    lines = [number_table(tables), "", *text_table(texts)]
    if (ROOT / "runs" / "smollm2_whole" / "comparison.parquet").is_file():
        lines += ["", *whole_table(publish_whole())]
    fill_numbers(HERE / "README.md", lines)


if __name__ == "__main__":
    main()
