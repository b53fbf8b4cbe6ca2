"""Does steering with an emotion change what a model prefers and how it behaves? Settings in ``study.yaml``.

    .venv/bin/python experiments/07_behaviour/run.py [--model NAME]

Run from the root of the repository, after ``experiments/03_composition/run.py``, whose directions it reads. Every
condition is kept in ``runs/behaviour/MODEL``, so a stopped run goes on. The numbers that the README quotes are copied
beside it, figures to ``figures/behaviour``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from told import fill_readme

import emovec_sae as ev
from emovec_sae.charts import save_chart
from emovec_sae.corpora.emotions import load_emotions
from emovec_sae.interventions.behaviour.battery import behaviour
from emovec_sae.interventions.behaviour.conditions import match_doses, steering_arms
from emovec_sae.interventions.behaviour.preferences import steered_preferences
from emovec_sae.provenance import read_json, write_json
from experiments.shared import ROOT, ModelPart, asked_models, say

HERE = Path(__file__).resolve().parent
STUDY: dict[str, Any] = yaml.safe_load((HERE / "study.yaml").read_text(encoding="utf-8"))
SEED: int = STUDY["seed"]


def told(name: str) -> Callable[[int, int], None]:
    """Say every eighth step."""

    def progress(done: int, total: int) -> None:
        if done % 8 == 0 or done == total:
            say(f"{name}: {done} of {total}")

    return progress


class Work(ModelPart):
    """One model's part of the study."""

    study = STUDY
    folder = "behaviour"

    @cached_property
    def vectors(self) -> Any:
        """The directions of the composition study."""
        file = ROOT / STUDY["directions"].replace("MODEL", self.name)
        if not file.exists():
            raise SystemExit(f"{file} is missing; run experiments/03_composition/run.py --model {self.name} first")
        found = ev.load_directions(file)
        if str(found.site) != self.settings["site"]:
            raise SystemExit(f"{file} is of {found.site}; the study is of {self.settings['site']}")
        return found

    @cached_property
    def probe(self) -> Any:
        """Neutral positions at which doses are matched."""
        texts = ev.load_corpus("neutral").frame["text"].tolist()
        return ev.KLProbe(self.model, texts, site=self.vectors.site, seed=SEED, **STUDY["probe"])

    def conditions(self, levels: dict[str, list[float]]) -> list[Any]:
        """Arms at their levels, the primary level first."""
        arms = steering_arms(self.vectors, load_emotions().core, random=STUDY["random"], seed=SEED)
        found = []
        for level in sorted({one for some in levels.values() for one in some}, reverse=True):
            some = [arm for arm in arms if level in levels.get(arm.name, [])]
            found += match_doses(
                some, self.probe, levels=[level], residual_norm=self.vectors.residual_norm, cells=self.path / "doses",
                progress=told(f"{self.name}, doses at {level:g} nats"),
            )  # fmt: skip
        return found

    def battery(self, name: str, conditions: list[Any]) -> Any:
        """One battery under conditions."""
        cells = self.path / name
        found = behaviour(self.model, name, conditions, seed=SEED, cells=cells, progress=told(f"{self.name}, {name}"))
        found.save(self.path / f"{name}.parquet")
        return found

    def preferences(self) -> Any:
        """Preferences between activities under the vectors and random directions."""
        acts = ev.record(
            self.model, ev.load_corpus("activities"), sites={str(self.vectors.site): ("mean",)}, offset=1,
            out=self.path / "activities",
        )  # fmt: skip
        some = self.conditions(STUDY["preferences"]["levels"])
        found = steered_preferences(
            self.model, self.vectors, acts, some, pairs=STUDY["preferences"]["pairs"], seed=SEED,
            cells=self.path / "preferences", progress=told(f"{self.name}, preferences"),
        )  # fmt: skip
        found.save(self.path / "preferences.json")
        return found

    def run(self) -> None:
        """What the primary tests need, then the preferences, then the rest; each is published once it is done."""
        primary = {arm: [STUDY["primary"]] for arm in ("raw", "random")}
        self.batteries(primary)
        found = self.preferences()
        self.draw(found.plot(), "preferences", found, found.points(), found.caption())
        self.publish({"preferences": found.summary()})
        self.batteries(STUDY["levels"])

    def batteries(self, levels: dict[str, list[float]]) -> None:
        """Every battery under arms at levels."""
        conditions = self.conditions(levels)
        for name in STUDY["batteries"]:
            found = self.battery(name, conditions)
            self.draw(found.plot(), name, found, found.frame(), repr(found))
            kinds = found.frame(by="kind").to_dict("records") if name == "refusal" else []
            self.publish({name: {**found.facts(), "levels": levels, "by_kind": kinds}})

    def publish(self, results: dict[str, Any]) -> None:
        """Add results to the file beside the README."""
        file = HERE / f"{self.name}.json"
        known = read_json(file) if file.exists() else {}
        write_json(file, {**known, **results})
        fill_readme(HERE, list(STUDY["models"]), primary=STUDY["primary"])

    def draw(self, chart: Any, name: str, found: Any, table: Any, caption: str) -> None:
        """Write a figure in every format."""
        folder = ROOT / "figures" / "behaviour" / self.name
        save_chart(chart, folder, name, table=table, provenance=dict(found.provenance), caption=caption)


def main() -> None:
    """Run one model, or both."""
    names = asked_models(STUDY, __doc__)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    for name in names:
        Work(name).run()
        say(json.dumps({"done": name}))


if __name__ == "__main__":
    main()
