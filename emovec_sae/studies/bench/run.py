"""bench: record, choose, check, and put the numbers together."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd

from emovec_sae.directions.checks.result import NUMBERS
from emovec_sae.provenance import atomic, collect
from emovec_sae.studies.alone import alone
from emovec_sae.studies.bench.card import COLUMNS, ScoreCard, load_card
from emovec_sae.studies.bench.checks import SCENARIOS, check_all, choose, saved
from emovec_sae.studies.bench.recordings import Bench, record_all
from emovec_sae.studies.bench.settings import BenchSettings
from emovec_sae.studies.stage import Progress, Reporter, Run, Silent
from emovec_sae.studies.tables import write_table

TITLES = {
    "topics": "1 Held-out topics",
    "scenarios": "2 Implicit scenarios",
    "scenarios_last": "2 Implicit scenarios, last token",
    "scenarios_chat": "2 Implicit scenarios, chat format",
    "scenarios_reply": "2 Implicit scenarios, before the reply",
    "intensity": "3 Numeric intensity",
    "lens": "5 Logit lens (differences of means)",
    "shape_read": "6 Geometry",
    "shape_steer": "6 Geometry (differences of means)",
    "similarity": "6 Geometry over sites",
    "languages": "7 Languages",
    "preferences": "8 Preferences",
    "learning_steer": "Stability (differences of means)",
    "learning_read": "Stability",
    "diagnostics": "10 Diagnostics",
}
"""Check -> how the card calls it, in the order of the card."""

HEADLINES = {
    "topics": ("top-1", "top-5", "AUROC", "right family", "TF-IDF, centroid, top-1", "TF-IDF, logistic, top-1",
               "sentence encoder, top-1"),
    "scenarios": None,
    "scenarios_chat": None,
    "intensity": None,
    "lens": None,
    "shape_read": None,
    "languages": None,
    "preferences": None,
    "learning_steer": None,
}  # fmt: skip
"""Check -> numbers that are drawn and quoted; None means all of them."""

NOT_IN_CARD = {
    "4 The user's own labelled text": "needs texts of the user: emovec evaluate DIRECTIONS FOLDER --map ...",
    "9 Speaker": "needs dialogues with both speakers' emotions; the packaged texts have none",
}
NO_CHAT = "the model has no chat template"


def bench(settings: BenchSettings, out: str | Path, *, reporter: Reporter | None = None) -> ScoreCard:
    """Make the score card of a model.

    Every stage is done once: an interrupted bench goes on where it was, and a finished one is read.

    Parameters
    ----------
    settings
        What decides the card.
    out
        Its folder: ``card.json``, ``card.csv``, ``tables/card.parquet``, ``checks/``, ``figures/``, the direction sets
        and the recordings.
    reporter
        Who is told how it goes; nobody by default.

    Returns
    -------
    ScoreCard

    Raises
    ------
    EmovecError
        If the model cannot be loaded or recorded, or another process works in the folder.
    """
    path = Path(out)
    with alone(path):
        made = Bench(settings, Run(path, reporter or Silent()))
        record_all(made)
        choose(made)
        check_all(made)
        _card(made)
    return load_card(path)


def _card(made: Bench) -> None:
    def work(progress: Progress) -> None:
        """Gather the numbers of all checks into a table, and draw it."""
        from emovec_sae.charts import save_chart

        card = _gather(made)
        write_table(made.path, "card", card.table)
        with atomic(made.path / "card.csv") as part:
            card.table.to_csv(part, index=False)
        caption = f"Score card of {card.model.get('name')}: each number with its interval beside its null."
        save_chart(
            card.plot(), made.path / "figures", "card", table=card.table[card.table["headline"]],
            provenance=dict(card.provenance), caption=caption,
        )  # fmt: skip
        card.save(made.path / "card.json")

    names = [name for name in TITLES if name in made.run.keys]
    made.run.stage("card", "put the numbers together", settings={}, after=names, outputs=["card.json"], work=work)


def _gather(made: Bench) -> ScoreCard:
    variants: list[dict[str, Any]] = []
    left_out = dict(NOT_IN_CARD)
    for name, title in TITLES.items():
        if name in SCENARIOS and not made.has(SCENARIOS[name][0]):
            left_out[title] = NO_CHAT
            continue
        variants += [{"check": name, **row} for row in saved(made, name).get("variants", [])]
    settings = made.settings.model_dump()
    acts = made.acts("stories")
    return ScoreCard(
        model=dict(acts.model),
        table=numbers_of(made, TITLES),
        variants=pd.DataFrame(variants, columns=["check", "variant", *NUMBERS]),
        left_out=left_out,
        settings=settings,
        provenance=collect(activations=acts.fingerprint, corpus_hash=acts.corpus_hash, seed=made.settings.seed),
    )


def numbers_of(made: Bench, names: Collection[str]) -> pd.DataFrame:
    """The rows of a card that belong to some checks; one that does not apply to the model has none."""
    rows: list[dict[str, Any]] = []
    for name, title in TITLES.items():
        if name in names and name in made.run.keys:
            told = saved(made, name)
            rows += _diagnosed(told, name, title) if name == "diagnostics" else _numbers(told, name, title)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _numbers(told: dict[str, Any], name: str, title: str) -> list[dict[str, Any]]:
    settings = told["settings"]
    estimator = settings.get("estimator")
    shown = {
        "site": settings.get("site"),
        "estimator": estimator["name"] if isinstance(estimator, dict) else estimator,
        "readout": settings.get("readout"),
        "position": settings.get("position"),
        "seed": settings.get("seed"),
    }
    quoted = HEADLINES.get(name, ())
    return [
        {
            "check": name,
            "title": title,
            "number": number,
            **row,
            **shown,
            "headline": quoted is None or number in quoted,
        }
        for number, row in told["numbers"].items()
    ]


def _diagnosed(told: dict[str, Any], name: str, title: str) -> list[dict[str, Any]]:
    settings = told["settings"]
    shown = {key: settings.get(key) for key in ("site", "readout", "seed")} | {
        "estimator": None, "position": None, "headline": False, "null": None, "p": None,
    }  # fmt: skip
    return [
        {"check": name, "title": title, "number": f"{code} {found['name']}: {found['status']}",
         "note": found["message"], **{key: found[key] for key in ("value", "low", "high", "n")}, **shown}
        for code, found in told["findings"].items()
    ]  # fmt: skip
