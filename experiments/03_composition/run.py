"""Which latents compose an emotion vector? Two models, 171 emotions, two SAE seeds; settings in ``study.yaml``.

    .venv/bin/python experiments/03_composition/run.py [--model NAME]

Run from the root of the repository. Everything lies in ``runs/composition/MODEL``; a step whose file is there is not
done again, so a stopped run goes on. The numbers that the README quotes are copied beside it, figures to ``figures/``.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from published import fill_readme, summary

import emovec_sae as ev
from emovec_sae.charts import caption, draw, save_chart
from emovec_sae.corpora.emotions import load_emotions
from emovec_sae.decomposition.across_saes import selected_matches
from emovec_sae.decomposition.agreement import agreement, auroc_support
from emovec_sae.decomposition.naming import naming
from emovec_sae.decomposition.null_tables import curve_rows
from emovec_sae.decomposition.resampled import Resampler
from emovec_sae.decomposition.sharing import sharing
from emovec_sae.decomposition.sources import cells_of
from emovec_sae.decomposition.stability import stability
from emovec_sae.directions.maps import NEIGHBOURS, map_trust, mapped
from emovec_sae.saes.matching import match_latents
from emovec_sae.saes.probing import probe_latents
from emovec_sae.saes.train import train_saes
from emovec_sae.sites import Site
from experiments.shared import ROOT, ModelPart, asked_models, step

HERE = Path(__file__).resolve().parent
STUDY: dict[str, Any] = yaml.safe_load((HERE / "study.yaml").read_text(encoding="utf-8"))
SEED: int = STUDY["seed"]
RESULTS = ("probing", "agreement", "stability", "matching", "across_seeds", "sharing", "naming")
MOST_BYTES = 60_000
CORE = load_emotions().core
DEMO = load_emotions().demo_topics
NAMES = {"pca": "PCA", "pacmap": "PaCMAP", "umap": "UMAP"}
MAPS = tuple(NAMES)


def core_cells(found: Any) -> tuple[Any, Any]:
    """The latents x emotions matrix of the core emotions, as chart and table: 171 do not fit on a page."""
    cells = found.cells(n=24)
    cells = cells[cells["emotion"].isin(CORE)].reset_index(drop=True)
    return draw("latents_by_emotion", cells), cells


def across_numbers(found: Any) -> tuple[Any, Any]:
    """Both shares across SAEs, as chart and table."""
    names = {"matched": "has a partner in the other SAE", "selected": "its partner is selected too"}
    told = found.summary().assign(check=f"the first {found.k} latents of an emotion")
    told = told.assign(number=told["number"].map(names))
    return draw("score_dots", told, title="Selected latents across SAEs", x_title="share of the latents"), told


def k_curve(found: Any) -> tuple[Any, Any]:
    """Cosine of the first k latents beside its nulls, as chart and table."""
    rows = curve_rows(found.curves, method=found.method, quantity="cosine", emotion=None, seed=SEED)
    rows = rows.rename(columns={"x": "k"}).drop(columns="null").assign(method=found.method)
    return draw("k_curves", rows), rows


def map_figure(vectors: Any, folder: Path, *, about: str) -> None:
    """The vectors on their principal components, and on two maps that keep neighbours together."""
    geometry = vectors.geometry(seed=SEED)
    tables = [mapped(geometry, method, seed=SEED) for method in MAPS]
    trust = [f"{NAMES[method]} {map_trust(geometry, one):.2f}" for method, one in zip(MAPS, tables, strict=True)]
    table = pd.concat(tables, ignore_index=True)
    words = f"{about}. {caption('vector_map', table)} Trustworthiness of {NEIGHBOURS} neighbours: {', '.join(trust)}."
    facts = {**vectors.provenance, "maps": {"methods": list(MAPS), "seed": SEED}}
    save_chart(draw("vector_map", table), folder, "maps", table=table, provenance=facts, caption=words)


class Work(ModelPart):
    """One model's part of the study."""

    study = STUDY
    folder = "composition"

    @property
    def site(self) -> str:
        """Where everything happens."""
        return self.settings["site"]

    def recorded(self, name: str) -> Any:
        """Every token and the mean of a corpus at the site."""
        folder = self.path / "activations" / name
        corpus = ev.load_corpus(HERE / STUDY["written"] if name == "written" else name)
        sites = {self.site: ("mean", "none")}
        return ev.record(self.model, corpus, sites=sites, out=folder, offset=4 if name == "written" else None)

    @cached_property
    def stories(self) -> Any:
        """All stories."""
        return self.recorded("stories")

    @cached_property
    def claims(self) -> Any:
        """Stories of the topics that no SAE has seen."""
        return self.stories.where(~self.stories.frame["group"].isin(DEMO))

    @cached_property
    def vectors(self) -> Any:
        """Differences of means of the claims' topics."""
        file = self.path / "vectors.safetensors"
        if not file.exists():
            ev.fit_directions(self.claims, site=self.site).save(file)
        return ev.load_directions(file)

    @cached_property
    def saes(self) -> dict[int, Any]:
        """By seed."""
        options = dict(STUDY["sae"])
        seeds = options.pop("seeds")
        own = self.stories.where(self.stories.frame["group"].isin(DEMO))
        stores = [own, self.recorded("neutral"), self.recorded("written")]
        found = train_saes(
            stores, sites=[self.site], seeds=seeds, out=self.path / "saes", d_sae=self.settings["d_sae"], **options
        )
        return {seed: found[Site.parse(self.site), seed] for seed in seeds}

    def once(self, name: str, make: Callable[[], Any], drawn: Callable[[Any], tuple[Any, Any]] | None = None) -> None:
        """Make a result and its figure unless its file is there."""
        file = self.path / f"{name}.json"
        if file.exists():
            return
        with step(f"{self.name}: {name}"):
            found = make()
            chart, table = drawn(found) if drawn else (found.plot(), found.frame())
            self.draw(chart, name, found, table)
            found.save(file)

    def draw(self, chart: Any, name: str, found: Any, table: Any) -> None:
        """Write a figure of a result in every format; the caption is what the result says of itself."""
        words = f"{self.name}, {self.site}. {found!r}"
        facts = dict(found.provenance)
        save_chart(chart, self.path / "figures", name, table=table, provenance=facts, caption=words)

    def decomposed(self, method: str, seed: int) -> Any:
        """A decomposition by one SAE, made once."""
        file = self.path / f"{method}-{seed}.parquet"
        if not file.exists():
            with step(f"{self.name}: {method}, SAE seed {seed}"):
                self._decompose(method, seed).save(file)
        return ev.load_decomposition(file)

    def _decompose(self, method: str, seed: int) -> Any:
        told = STUDY["contrast" if method == "contrast" else method if method == "attribution" else "pursuits"]
        options: dict[str, Any] = {
            "k": told["k"],
            "nulls": told["nulls"],
            "seed": SEED,
            "passport": self.passport(seed),
        }
        if method == "contrast":
            options["contrast"] = {"permutations": told["permutations"]}
        if method == "attribution":
            options |= {"model": self.model, "emotions": CORE}
        return ev.decompose(self.vectors, self.saes[seed], self.claims, method=method, **options)

    def passport(self, seed: int) -> Any:
        """Fitness on the claims' topics."""
        if seed not in self.__dict__.setdefault("_passports", {}):
            with step(f"{self.name}: passport, SAE seed {seed}"):
                found = ev.passport(self.saes[seed], self.claims, model=self.model, seed=SEED)
                found.save(self.path / f"passport-{seed}.json")
            self.__dict__["_passports"][seed] = found
        return self.__dict__["_passports"][seed]

    def run(self) -> None:
        """Every step."""
        at = STUDY["compared_at"]
        first, second = STUDY["sae"]["seeds"]
        contrasts = {seed: self.decomposed("contrast", seed) for seed in (first, second)}
        methods = [*STUDY["pursuits"]["methods"], "attribution"]
        found = [contrasts[first], *(self.decomposed(method, first) for method in methods)]
        sae = self.saes[first]

        def resampler() -> Resampler:
            return Resampler(cells_of(self.vectors, sae, self.claims), sae, self.vectors.removed)

        def compared() -> Any:
            return agreement(found, k=at, supports={"AUROC": auroc_support(resampler().cells, at)})

        def followed() -> Any:
            pair = match_latents(self.saes[first], self.saes[second], self.claims, seed=SEED)
            pair.save(self.path / "matching.json")
            return selected_matches(pair, contrasts[first], contrasts[second], k=at)

        self.once("probing", lambda: probe_latents(sae, self.claims, seed=SEED))
        self.once("agreement", compared)
        self.once("stability", lambda: stability(self.vectors, sae, self.claims, k=at, seed=SEED))
        self.once("across_seeds", followed, drawn=across_numbers)
        self.once("sharing", lambda: sharing(contrasts[first], cells=resampler(), seed=SEED), drawn=core_cells)
        told = STUDY["naming"]
        self.once(
            "naming",
            lambda: naming(
                contrasts[first], sae, self.model, emotions=CORE, k=told["k"], nulls=told["nulls"], seed=SEED
            ),
        )
        map_figure(self.vectors, self.path / "figures", about=f"{self.name}, {self.site}")
        one = contrasts[first]
        self.draw(one.plot("afraid", k=at), "composition_afraid", one, one.composition(["afraid"], k=at))
        for one in found[:2]:
            chart, table = k_curve(one)
            self.draw(chart, f"curve_{one.method}", one, table)

    def publish(self) -> None:
        """Copy numbers and figures to where the repository keeps them."""
        files = [*sorted(self.path.glob("passport-*.json")), *(self.path / f"{name}.json" for name in RESULTS)]
        told = {one.stem: json.loads(one.read_text(encoding="utf-8")) for one in files}
        for name in RESULTS:  # tables of every latent stay in the run's folder
            told[name] = {key: value for key, value in told[name].items() if len(json.dumps(value)) < MOST_BYTES}
        for method in ["contrast", *STUDY["pursuits"]["methods"], "attribution"]:
            told[method] = ev.load_decomposition(self.path / f"{method}-{STUDY['sae']['seeds'][0]}.parquet").facts()
        told["summary"] = summary(told, self.path, at=STUDY["compared_at"], seed=STUDY["sae"]["seeds"][0])
        (HERE / f"{self.name}.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        target = ROOT / "figures" / "composition_study" / self.name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.path / "figures", target)


def main() -> None:
    """Run one model, or both."""
    names = asked_models(STUDY, __doc__)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name in names:
        work = Work(name)
        work.run()
        work.publish()
    fill_readme(HERE, list(STUDY["models"]))


if __name__ == "__main__":
    main()
