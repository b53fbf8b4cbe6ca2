"""Make the score cards of both embedded models: the cards into this folder, their figures into ``figures/``.

Run from the root of the repository: ``.venv/bin/python experiments/02_score_cards/run.py``. Stages that a former run
has finished in ``runs/bench-MODEL`` are not run again.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from emovec_sae.report.card import write_card
from emovec_sae.studies.bench import ScoreCard, bench, load_card
from emovec_sae.studies.bench.settings import BenchSettings

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MODELS = ("smollm2-135m-instruct", "gemma-3-270m")
BEGIN, END = "<!-- numbers: begin -->", "<!-- numbers: end -->"


def run_folder(model: str) -> Path:
    """Where the card of a model is made."""
    return ROOT / "runs" / f"bench-{model}"


def number_table(cards: list[ScoreCard]) -> str:
    """Headline numbers of the cards side by side: value, interval, n, null."""
    names = [str(card.model["name"]) for card in cards]
    lines = [f"| | | {' | '.join(names)} |", "|---|---|" + "---|" * len(cards)]
    tables = [card.table[card.table["headline"]].set_index(["title", "number"]) for card in cards]
    order = list(dict.fromkeys(key for table in tables for key in table.index))
    for title, number in order:
        cells = [_cell(table.loc[title, number]) if (title, number) in table.index else "–" for table in tables]
        lines.append(f"| {title} | {number.replace('|', chr(92) + '|')} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row: object) -> str:
    value, low, high, null, n = (getattr(row, name) for name in ("value", "low", "high", "null", "n"))
    if value != value:
        return "–"
    interval = f" [{low:.2f}, {high:.2f}]" if low == low else ""
    return f"{value:.2f}{interval}, n {int(n):,}" + (f"; null {null:.2f}" if null == null else "")


def main() -> None:
    """Run, copy, fill the README."""
    cards = [bench(BenchSettings(model=model), run_folder(model)) for model in MODELS]
    write_card(cards, out=ROOT / "runs" / "score_cards.html")
    for model in MODELS:
        for name in ("card.json", "card.csv"):
            shutil.copyfile(run_folder(model) / name, HERE / f"{model}.{name}")
        target = ROOT / "figures" / "score_cards" / model
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for file in (run_folder(model) / "figures").glob("card.*"):
            shutil.copyfile(file, target / file.name)
    cards = [load_card(HERE / f"{model}.card.json") for model in MODELS]
    readme = HERE / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    readme.write_text(f"{before}{BEGIN}\n{number_table(cards)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
