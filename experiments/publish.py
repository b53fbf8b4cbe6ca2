"""Publish a study of checks: its numbers into its folder and README, its figures into ``figures/``.

    .venv/bin/emovec run experiments/08_circumplex/study.yaml
    .venv/bin/python experiments/publish.py experiments/08_circumplex

Run from the root of the repository, after the study.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pandas as pd

from emovec_sae.provenance import read_json
from experiments.shared import ROOT, fill_numbers


def number_table(numbers: pd.DataFrame) -> str:
    """One row a number, one column a model: value, interval, n, null."""
    models = list(dict.fromkeys(numbers["model"]))
    lines = [f"| | | {' | '.join(models)} |", "|---|---|" + "---|" * len(models)]
    for (title, number), rows in numbers.groupby(["title", "number"], sort=False):
        cells = {row["model"]: _cell(row) for row in rows.to_dict("records")}
        name = str(number).replace("|", "\\|")
        lines.append(f"| {title} | {name} | {' | '.join(cells.get(model, '–') for model in models)} |")
    return "\n".join(lines)


def _cell(row: dict[str, float]) -> str:
    if pd.isna(row["value"]):
        return "–"
    interval = "" if pd.isna(row["low"]) else f" [{row['low']:.2f}, {row['high']:.2f}]"
    count = "" if pd.isna(row["n"]) else f", n {int(row['n']):,}"
    null = "" if pd.isna(row["null"]) else f"; null {row['null']:.2f}"
    return f"{row['value']:.2f}{interval}{count}{null}"


def main() -> None:
    """Copy and fill."""
    folder = Path(sys.argv[1]).resolve()
    run = ROOT / "runs" / folder.name
    shutil.copyfile(run / "numbers.csv", folder / "numbers.csv")
    figures = ROOT / "figures" / folder.name.partition("_")[2]
    shutil.rmtree(figures, ignore_errors=True)
    shutil.copytree(run / "figures", figures)
    told = read_json(run / "results.json")
    took = ", ".join(f"{model} {seconds / 60:.0f} min" for model, seconds in told["seconds"].items())
    table = number_table(pd.read_csv(run / "numbers.csv"))
    fill_numbers(folder / "README.md", [table, "", f"Time with the recordings, 2 cores: {took}."])


if __name__ == "__main__":
    main()
