"""Make the published numbers and figures: the demo's run, its figures into ``figures/``, its numbers into the README.

Run from the root of the repository: ``.venv/bin/python experiments/01_embedded_run/run.py``. Stages that ``make demo``
has finished in ``runs/demo`` are not run again.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from emovec_sae.report.page import write_report
from emovec_sae.studies.demo import demo_study
from emovec_sae.studies.figures import draw_figures, run_facts
from emovec_sae.studies.run import run_study

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BEGIN, END = "<!-- numbers: begin -->", "<!-- numbers: end -->"
SHOWN = {
    "directions": ("top-1", "top-5", "AUROC", "top-1, site chosen", "TF-IDF top-1", "TF-IDF top-5"),
    "geometry": ("valence read out, r", "arousal read out, r"),
    "SAE": ("explained variance", "l0", "dead share"),
    "decomposition": None,
    "steering": None,
    "patching": None,
}
"""Rows of the score table that the README shows; None shows a whole group."""


def number_table(results: dict[str, Any]) -> str:
    """The README's table: one row a number, with interval and n."""
    lines = ["| | | value | 95 % interval | n | |", "|---|---|---|---|---|---|"]
    for row in results["scores"]:
        names = SHOWN.get(row["group"], ())
        if names is not None and row["name"] not in names:
            continue
        value = "–" if row["value"] is None else _number(row["value"])
        between = "–" if row["low"] is None else f"{_number(row['low'])} to {_number(row['high'])}"
        name = row["name"].replace("|", "\\|")
        lines.append(
            f"| {row['group']} | {name} | {value} | {between} | {row['n'] or '–'} | {row['note'].replace('|', '/')} |"
        )
    return "\n".join(lines)


def _number(value: float) -> str:
    if value and abs(value) < 0.001:
        return f"{value:.0e}" if abs(value) < 0.00005 else f"{value:.4f}"
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


def fill_readme(text: str, results: dict[str, Any]) -> str:
    """Put the table between the README's two marks."""
    block = f"{BEGIN}\n{results['model']}, seed 0, the run of `make demo`:\n\n{number_table(results)}\n{END}"
    return re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: block, text, flags=re.DOTALL)


def main() -> None:
    """Run, draw, copy, fill."""
    run = ROOT / "runs" / "demo"
    results = run_study(demo_study(), run)
    write_report(run)
    draw_figures(run, facts=run_facts(run), out=ROOT / "figures")
    shutil.copyfile(run / "results.json", HERE / "results.json")
    readme = ROOT / "README.md"
    readme.write_text(fill_readme(readme.read_text(encoding="utf-8"), results), encoding="utf-8")


if __name__ == "__main__":
    main()
