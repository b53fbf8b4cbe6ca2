"""Where along the layers does the emotion become causal? Two models; settings and statements in this folder.

    .venv/bin/python experiments/06_layers/run.py [--model NAME]

Run from the root of the repository. Everything lies in ``runs/layers/MODEL``; a step whose file is there is not done
again, so a stopped run goes on. The numbers that the README quotes are copied beside it, figures to ``figures/layers``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from published import publish

import emovec_sae as ev
from emovec_sae.corpora.emotions import load_emotions
from emovec_sae.corpora.lexicon import contrast_words, load_lexicon
from emovec_sae.corpora.prompts import load_prompts
from emovec_sae.interventions.arms import random_arms, raw_arms
from emovec_sae.interventions.comparison.result import load_comparison
from emovec_sae.interventions.patches.result import load_patching
from emovec_sae.sites import Site
from experiments.shared import ROOT, ModelPart, asked_models, step

HERE = Path(__file__).resolve().parent
STUDY: dict[str, Any] = yaml.safe_load((HERE / "study.yaml").read_text(encoding="utf-8"))
SEED: int = STUDY["seed"]
log = logging.getLogger(__name__)
CORE = list(load_emotions().core)
DEMO = load_emotions().demo_topics


class Work(ModelPart):
    """One model's part of the study."""

    study = STUDY
    folder = "layers"

    @property
    def sites(self) -> list[str]:
        """Where there are directions and SAEs."""
        return [f"resid_post.{layer}" for layer in self.settings["sites"]]

    @cached_property
    def pairs(self) -> Any:
        """All packaged pairs."""
        return ev.load_pairs()

    @property
    def emotions(self) -> list[str]:
        """The core, and what the sources of the pairs feel."""
        felt = set(self.pairs["source_emotion"])
        return CORE + [one for one in load_emotions().emotions if one in felt and one not in CORE]

    def recorded(self, name: str, corpus: Any) -> Any:
        """Every token and the mean at all sites."""
        folder = self.path / "activations" / name
        with step(f"{self.name}: {name}"):
            return ev.record(self.model, corpus, sites=dict.fromkeys(self.sites, ("mean", "none")), out=folder)

    @cached_property
    def claims(self) -> Any:
        """Stories of the topics that no SAE has seen."""
        corpus = ev.load_corpus("stories", emotions=self.emotions)
        topics = [one for one in dict.fromkeys(corpus.frame["group"]) if one not in DEMO]
        return self.recorded("claims", ev.load_corpus("stories", emotions=self.emotions, groups=topics))

    @cached_property
    def vectors(self) -> list[Any]:
        """Differences of means, a set for each site."""
        found = []
        for site in self.sites:
            file = self.path / f"vectors-{site}.safetensors"
            if not file.exists():
                ev.fit_directions(self.claims, site=site).save(file)
            found.append(ev.load_directions(file))
        return found

    @cached_property
    def saes(self) -> list[Any]:
        """One for each site."""
        stories = self.recorded("dictionary", ev.load_corpus("stories", groups=list(DEMO)))
        neutral = self.recorded("neutral", ev.load_corpus("neutral"))
        with step(f"{self.name}: SAEs"):
            found = ev.train_saes(
                [stories, neutral], sites=self.sites, seeds=[SEED], out=self.path / "saes",
                d_sae=self.settings["d_sae"], **STUDY["sae"],
            )  # fmt: skip
        return [found[Site.parse(site), SEED] for site in self.sites]

    def decomposed(self, directions: Any, sae: Any) -> Any:
        """The contrast decomposition at a site, with the SAE's passport."""
        file = self.path / f"contrast-{sae.site}.parquet"
        if not file.exists():
            with step(f"{self.name}: passport and decomposition, {sae.site}"):
                fit = ev.passport(sae, self.claims, model=self.model, tokens=30_000, seed=SEED)
                fit.save(self.path / f"passport-{sae.site}.json")
                told = STUDY["contrast"]
                ev.decompose(
                    directions, sae, self.claims, k=told["k"], nulls=0, seed=SEED, passport=fit,
                    contrast={"permutations": told["permutations"]}, override=True,
                ).save(file)  # fmt: skip
        return ev.load_decomposition(file)

    def patched(self, name: str, **options: Any) -> Any:
        """A patching, made once."""
        file = self.path / f"{name}.parquet"
        if not file.with_suffix(".json").exists():
            with step(f"{self.name}: {name}"):
                ev.patch(self.model, self.pairs, seed=SEED, progress=self.progress(name), **options).save(file)
        return load_patching(file)

    def progress(self, name: str) -> Callable[[int, int], None]:
        """A line every ten."""
        return lambda done, whole: None if done % 10 else log.info("%s: %s of %s", name, done, whole)

    def patch(self) -> None:
        """Whole states at every block, and what of them carries the answer at the sites."""
        places = STUDY["places"]
        self.patched("exact", positions=places, method="both")
        told = STUDY["noise"]
        some = [f"resid_post.{layer}" for layer in range(0, self.model.n_layers, told["every"])]
        self.patched("noise", sites=some, positions=told["places"], mode="noise", limit=told["pairs"])
        told = STUDY["streams"]
        self.patched("streams", what=told["what"], positions=places, limit=told["pairs"])
        told = STUDY["carriers"]
        parts = [self.decomposed(*both) for both in zip(self.vectors, self.saes, strict=True)]
        options = {"positions": told["places"], "sites": self.sites, "sae": self.saes, "decomposition": parts}
        self.patched(
            "carriers", what=told["what"], directions=self.vectors, emotions=told["subspace"], k=told["k"], **options
        )
        nulls = told["nulls_of_latents"]
        self.patched("nulls", what=nulls["what"], k=nulls["k"], **options)

    def steer(self) -> None:
        """The emotion vectors of every site at one KL."""
        told = STUDY["steering"]
        lexicon = contrast_words(load_lexicon(), use="held_out", emotions=CORE)
        words = [word for some in lexicon.values() for word in some]
        prompts = load_prompts(kind="word_third", use="report")["text"].tolist()[: told["prompts"]]
        neutral = ev.load_corpus("neutral").frame["text"].tolist()
        for fitted in self.vectors:
            file = self.path / f"steering-{fitted.site}.parquet"
            if file.with_suffix(".json").exists():
                continue
            with step(f"{self.name}: steering at {fitted.site}"):
                draws = {"draws": told["random_draws"], "seed": SEED}
                ev.compare(
                    [*raw_arms(fitted, CORE), *random_arms(fitted.site, self.model.d_model, **draws)],
                    scorer=ev.WordScorer(self.model, prompts, words, site=fitted.site),
                    probe=ev.KLProbe(
                        self.model, neutral, site=fitted.site, positions=told["positions"], seed=SEED
                    ),
                    lexicon=lexicon, levels=[told["kl"]], residual_norm=fitted.residual_norm,
                    cells=self.path / "cells" / str(fitted.site),
                ).save(file)  # fmt: skip

    def run(self) -> None:
        """Every step."""
        self.patch()
        self.steer()

    def results(self) -> dict[str, Any]:
        """What was saved, read again."""
        names = ("exact", "noise", "streams", "carriers", "nulls")
        found: dict[str, Any] = {one: load_patching(self.path / f"{one}.parquet") for one in names}
        found["steering"] = {one: load_comparison(self.path / f"steering-{one}.parquet") for one in self.sites}
        return found


def main() -> None:
    """Run one model, or both."""
    names = asked_models(STUDY, __doc__)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name in names:
        work = Work(name)
        work.run()
        publish(name, work.path, work.results(), STUDY, HERE, ROOT / "figures" / "layers" / name)


if __name__ == "__main__":
    main()
