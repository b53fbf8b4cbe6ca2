"""The arms of a study: raw vectors, latents by each selector, remainders and controls, as its settings ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from emovec_sae.errors import ConfigError, suggest
from emovec_sae.studies.context import Context

if TYPE_CHECKING:
    from emovec_sae.interventions.arms import Arm
    from emovec_sae.interventions.comparison.selectors import Sources

CONTROLS = ("covariance", "permuted", "other", "flipped", "pass-through")
"""What ``interventions.controls`` may name, besides the isotropic random directions that every study has."""


def check_arms(context: Context) -> None:
    """Refuse selectors and controls that there are not, and sizes out of reach, before anything is computed."""
    from emovec_sae.interventions.comparison.selectors import SELECTORS

    section = context.study.interventions
    for key, given, known in (
        ("selectors", section.selectors, tuple(SELECTORS)),
        ("controls", section.controls, CONTROLS),
    ):
        for name in given:
            if name not in known:
                near = suggest(name, known)
                raise ConfigError(f"interventions.{key} names '{name}'{near}; there are {', '.join(known)}")
    largest, there = max([*section.sizes, *section.remainders, *section.clamped]), context.study.decomposition.k
    if largest > there:
        raise ConfigError(
            f"interventions asks for {largest} latents of an emotion, decomposition.k is {there}; raise it above that, "
            "since dense latents are left out"
        )


def study_arms(context: Context, emotions: list[str]) -> list[Arm]:
    """All arms, the raw ones first."""
    from emovec_sae.interventions.arms import clamped_arms, latent_arms, random_arms, raw_arms, remainder_arms
    from emovec_sae.interventions.comparison.selectors import select_latents

    section, seed = context.study.interventions, context.study.seed
    arms = raw_arms(context.directions, emotions)
    arms += random_arms(context.site, context.model.d_model, draws=section.random_draws, seed=seed)
    contrast, sizes = context.decomposition("contrast"), tuple(section.sizes)
    sources = None if section.selectors == ["share"] else _sources(context, section.selectors)
    for selector in section.selectors:
        chosen = contrast if selector == "share" or sources is None else select_latents(selector, sources)
        arms += latent_arms(chosen, context.coder, section.arms_for, sizes=sizes, selector=selector)
    if section.remainders:
        arms += remainder_arms(contrast, context.coder, section.arms_for, sizes=tuple(section.remainders))
    if section.clamped:
        arms += clamped_arms(contrast, context.coder, section.arms_for, sizes=tuple(section.clamped))
    return arms + _controls(context, section.controls)


def _sources(context: Context, selectors: Sequence[str]) -> Sources:
    """What the selectors draw on; their prompts are marked ``tune``, and no effect is reported on those."""
    from emovec_sae.corpora.prompts import load_prompts
    from emovec_sae.decomposition.api import decompose
    from emovec_sae.interventions.comparison.selectors import Sources

    contrast = context.decomposition("contrast")
    others = {"omp": context.decomposition("omp")} if "omp" in selectors else {}
    if "attribution" in selectors:
        others["attribution"] = decompose(
            context.directions, context.coder, method="attribution", emotions=contrast.emotions,
            k=context.study.decomposition.k, nulls=0, seed=context.study.seed, model=context.model,
        )  # fmt: skip
    prompts = load_prompts(kind=["word_third", "word_first"], use="tune")["text"].tolist()
    return Sources(
        contrast=contrast, coder=context.coder, others=others, model=context.model, prompts=prompts,
        seed=context.study.seed,
    )  # fmt: skip


def _controls(context: Context, wanted: Sequence[str]) -> list[Arm]:
    from emovec_sae.interventions.arms import pass_through_arm
    from emovec_sae.interventions.comparison import controls

    section, seed, site = context.study.interventions, context.study.seed, context.site
    found: list[Arm] = []
    if "covariance" in wanted:
        values = context.neutral_acts[str(site)].pooled("mean")
        found += controls.covariance_arms(site, values, draws=section.random_draws, seed=seed)
    if "permuted" in wanted:
        frame = context.acts.frame
        found += controls.permuted_label_arms(
            context.directions, section.arms_for, values=context.acts[str(site)].pooled("mean"),
            labels=frame["emotion"].tolist(), groups=frame["group"].tolist(), seed=seed,
        )  # fmt: skip
    if "other" in wanted:
        found += controls.other_emotion_arms(context.directions, section.arms_for, seed=seed)
    if "flipped" in wanted:
        found += controls.flipped_arms(context.directions, section.arms_for)
    if "pass-through" in wanted:
        found.append(pass_through_arm(context.coder))
    return found
