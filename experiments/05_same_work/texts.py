"""The texts of the arms: what they say by each reader, and what writing so costs."""

from __future__ import annotations

import pandas as pd
from pieces import HERE, RUNS, cell, save

from emovec_sae.interventions.comparison.generations_result import load_generations
from emovec_sae.provenance import write_json
from experiments.shared import ROOT

OUTCOMES = {"valence": "valence (VADER)", "probe": "probe (z)", "judge": "judge (nats)"}


def publish_texts(stem: str) -> pd.DataFrame:
    """Numbers and figures of one model's texts; returns means, ratios and damage, one row a number."""
    found = load_generations(ROOT / "runs" / stem / "generated.parquet")
    level = float(found.texts["level"].max())
    means, damage = found.means(level), found.damage(level)
    tables = {"mean": means, "ratio": found.ratios(level), "damage": damage}
    table = pd.concat([one.assign(number=name) for name, one in tables.items()], ignore_index=True)
    table.to_csv(HERE / f"{stem}.texts.csv", index=False, lineterminator="\n")
    regimes = found.regimes()
    facts = {"regimes": regimes.to_dict("records"), "wrong_way": found.wrong_way(level).to_dict("records")}
    write_json(HERE / f"{stem}.texts.json", {**facts, "provenance": found.provenance})
    found.samples(level, prompts=3).to_csv(HERE / f"{stem}.samples.csv", index=False, lineterminator="\n")
    save(f"{stem}_texts", "text_outcomes", means, found)
    return table


def text_table(texts: dict[str, pd.DataFrame]) -> list[str]:
    """One row an arm, columns by model: mean changes as they are, the judge without words of emotion, perplexity."""
    lines: list[str] = []
    for stem, table in texts.items():
        own = table[table["number"] == "mean"]
        heads = [*OUTCOMES.values(), "judge, words masked", "surprise, nats a token"]
        n = int(own["n"].max()), int(own["texts"].max())
        dose = f"{own['level'].iloc[0]:g} nats, {n[0]} emotions, {n[1]} texts an arm"
        lines += [f"Texts of {RUNS[stem]} at {dose}, change against the model's own:", ""]
        lines += [f"| arm | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
        for arm in dict.fromkeys(own["arm"]):
            cells = [cell(own, arm=arm, outcome=name, masked=False) for name in OUTCOMES]
            cells.append(cell(own, arm=arm, outcome="judge", masked=True))
            cells.append(cell(table[table["number"] == "damage"], arm=arm, outcome="surprise"))
            lines.append(f"| {arm} | {' | '.join(cells)} |")
        lines.append("")
    return lines[:-1]
