"""The arms of a study: raw vectors, latents by each selector, remainders and controls, as its settings ask."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from emovec_sae.config import GridSection
from emovec_sae.errors import ConfigError, suggest
from emovec_sae.provenance import digest, read_json, write_json
from emovec_sae.studies.context import Context

if TYPE_CHECKING:
    from emovec_sae.decomposition.result import Decomposition
    from emovec_sae.directions.direction_set import DirectionSet
    from emovec_sae.interventions.arms import Arm
    from emovec_sae.interventions.comparison.selectors import Sources
    from emovec_sae.store.reader import Activations

CONTROLS = ("covariance", "permuted", "other", "flipped", "pass-through", "topics")
"""What ``interventions.controls`` may name, besides the isotropic random directions that every study has."""
_DEEPER = 4
"""Attribution ranks so many times the candidates: those whose Delta the contrast does not hold are passed over."""


@dataclass
class Plan:
    """Arms of a study, and at which levels each is run.

    Attributes
    ----------
    asked
        (arm's name, emotion, draw, fold) -> arm and its levels, in the order of running: the arms of an emotion
        together, its raw vector first.
    """

    asked: dict[tuple[str, str | None, int, int], tuple[Arm, set[float]]] = field(default_factory=dict)

    @property
    def arms(self) -> list[Arm]:
        """The arms."""
        return [arm for arm, _ in self.asked.values()]

    def add(self, arms: Iterable[Arm], levels: Iterable[float]) -> None:
        """Ask for arms at levels; an arm that was asked for before is run at the new levels too."""
        for arm in arms:
            self.asked.setdefault(_key(arm), (arm, set()))[1].update(levels)

    def levels(self, arm: Arm) -> list[float]:
        """Levels of an arm, ascending."""
        return sorted(self.asked[_key(arm)][1])

    def by_emotion(self) -> Plan:
        """The same, the arms of a fold and an emotion together, those of no emotion last."""
        place = {emotion: row for row, emotion in enumerate(dict.fromkeys(arm.emotion for arm in self.arms))}
        last = len(place)
        found = sorted(
            self.asked.items(),
            key=lambda one: (
                one[1][0].emotion is None,
                one[1][0].fold,
                last if one[1][0].emotion is None else place[one[1][0].emotion],
            ),
        )
        return Plan(dict(found))


def _key(arm: Arm) -> tuple[str, str | None, int, int]:
    return arm.name, arm.emotion, arm.draw, arm.fold


@dataclass(frozen=True)
class _Turn:
    """What the arms of a fold are made of; without a rotation raw vectors and latents are of the same texts."""

    number: int
    directions: DirectionSet
    decomposed: DirectionSet
    contrast: Decomposition
    acts: Activations


def check_arms(context: Context) -> None:
    """Refuse selectors and controls that there are not, and sizes out of reach, before anything is computed."""
    from emovec_sae.interventions.comparison.selectors import SELECTORS
    from emovec_sae.interventions.rotation import deal_topics

    section = context.study.interventions
    parts = _parts(context)
    asked = (
        ("selectors", [name for part in parts for name in part.selectors], tuple(SELECTORS)),
        ("controls", section.controls, CONTROLS),
    )
    for key, given, known in asked:
        for name in given:
            if name not in known:
                near = suggest(name, known)
                raise ConfigError(f"interventions.{key} names '{name}'{near}; there are {', '.join(known)}")
    largest = max([*section.sizes, *(k for part in parts for k in (*part.sizes, *part.remainders, *part.clamped))])
    there = context.study.decomposition.k
    if largest > there:
        raise ConfigError(
            f"interventions asks for {largest} latents of an emotion, decomposition.k is {there}; raise it above that, "
            "since dense latents are left out"
        )
    every = context.emotions(section.emotions)
    for part in section.grid:
        for emotion in context.emotions(part.emotions):
            if emotion not in every:
                raise ConfigError(f"interventions.grid names '{emotion}', which interventions.emotions leaves out")
    if section.folds > 1:
        deal_topics(context.corpus.groups, section.folds, seed=context.study.seed)
    elif "topics" in section.controls:
        raise ConfigError("interventions.controls names 'topics', which needs a rotation: set interventions.folds to 2")


def study_plan(context: Context, emotions: list[str]) -> Plan:
    """All arms with their levels."""
    from emovec_sae.interventions.arms import random_arms

    section, seed = context.study.interventions, context.study.seed
    curves = sorted({section.level, *section.levels})
    plan = Plan()
    for turn in _turns(context):
        _add_turn(plan, context, turn, emotions, curves)
    every = {level for part in _parts(context) for level in part.levels}
    plan.add(random_arms(context.site, context.model.d_model, draws=section.random_draws, seed=seed), every)
    plan.add(_shared_controls(context, section.controls), curves)
    return plan.by_emotion()


def _parts(context: Context) -> list[GridSection]:
    """What the section asks for itself, then the further parts of its grid."""
    section = context.study.interventions
    first = GridSection(
        emotions=section.arms_for, levels=sorted({section.level, *section.levels}), selectors=section.selectors,
        sizes=section.sizes, remainders=section.remainders, clamped=section.clamped,
    )  # fmt: skip
    return [first, *section.grid]


def _turns(context: Context) -> list[_Turn]:
    """The folds, or the one turn of a study that does not rotate."""
    from emovec_sae.directions.denoise import NeutralComponents
    from emovec_sae.interventions.rotation import rotate

    study = context.study
    if study.interventions.folds == 1:
        both = context.directions
        return [_Turn(0, both, both, context.decomposition("contrast"), context.acts)]
    remove = NeutralComponents(context.neutral_acts) if study.directions.remove_neutral else None
    rotation = rotate(
        context.acts, context.coder, folds=study.interventions.folds, k=study.decomposition.k, remove=remove,
        emotions=context.emotions(study.decomposition.emotions), seed=study.seed,
    )  # fmt: skip
    for fold in rotation:
        folder = context.path / "folds" / str(fold.number)
        folder.mkdir(parents=True, exist_ok=True)
        fold.directions.save(folder / "directions.safetensors", overwrite=True)
        fold.decomposed.save(folder / "decomposed.safetensors", overwrite=True)
        fold.contrast.save(folder / "contrast.parquet", overwrite=True)
    return [_Turn(fold.number, fold.directions, fold.decomposed, fold.contrast, fold.acts) for fold in rotation]


def _add_turn(plan: Plan, context: Context, turn: _Turn, emotions: list[str], curves: list[float]) -> None:
    """Ask for the arms of one turn."""
    from dataclasses import replace

    from emovec_sae.interventions.arms import clamped_arms, latent_arms, raw_arms, remainder_arms
    from emovec_sae.interventions.comparison.selectors import select_latents

    section = context.study.interventions

    def add(arms: Iterable[Arm], levels: Iterable[float]) -> None:
        """Ask for arms of this turn."""
        plan.add([replace(arm, fold=turn.number) for arm in arms], levels)

    add(raw_arms(turn.directions, emotions), [section.level])
    parts = _parts(context)
    selectors = list(dict.fromkeys(name for part in parts for name in part.selectors))
    sources = None if selectors == ["share"] else _sources(context, turn, selectors)
    chosen = {
        name: turn.contrast if name == "share" or sources is None else select_latents(name, sources)
        for name in selectors
    }
    if sources is not None and sources.amplified:
        write_json(_amplified_file(context, sources.prompts), {str(key): two for key, two in sources.amplified.items()})
    for part in parts:
        if part.turns is not None and turn.number >= part.turns:
            continue
        own = context.emotions(part.emotions) if part.emotions else []
        add(raw_arms(turn.directions, own), part.levels)
        for name in part.selectors:
            found = latent_arms(chosen[name], context.coder, own, sizes=tuple(part.sizes), selector=name)
            add(found, part.levels)
        left = remainder_arms(
            turn.contrast, context.coder, own, sizes=tuple(part.remainders),
            directions=None if turn.directions is turn.decomposed else turn.directions,
        )  # fmt: skip
        add(left, part.levels)
        add(clamped_arms(turn.contrast, context.coder, own, sizes=tuple(part.clamped)), part.levels)
    add(_controls(context, turn, section.controls), curves)


def _sources(context: Context, turn: _Turn, selectors: Sequence[str]) -> Sources:
    """What the selectors draw on; their prompts are marked ``tune``, and no effect is reported on those."""
    from emovec_sae.corpora.prompts import load_prompts
    from emovec_sae.decomposition.api import decompose
    from emovec_sae.interventions.comparison.selectors import Sources

    whole, k = turn.directions is turn.decomposed, context.study.decomposition.k
    most = min(context.coder.d_sae, context.coder.d_in - len(turn.decomposed.removed))
    others: dict[str, Decomposition] = {}
    for method in ("omp", "attribution"):
        if method not in selectors:
            continue
        if whole and method == "omp":
            others[method] = context.decomposition("omp")
            continue
        others[method] = decompose(  # with the activations, which tell the dense latents that arms leave out
            turn.decomposed, context.coder, turn.acts, method=method, emotions=turn.contrast.emotions,
            k=min(_DEEPER * k, most) if method == "attribution" else k, nulls=0, seed=context.study.seed,
            model=context.model if method == "attribution" else None,
        )  # fmt: skip
    prompts = load_prompts(kind=["word_third", "word_first"], use="tune")["text"].tolist()
    file = _amplified_file(context, prompts)
    tried = {
        int(latent): (float(a), float(b)) for latent, (a, b) in (read_json(file) if file.is_file() else {}).items()
    }
    return Sources(
        contrast=turn.contrast, coder=context.coder, others=others, model=context.model, prompts=prompts,
        seed=context.study.seed, amplified=tried,
    )  # fmt: skip


def _amplified_file(context: Context, prompts: Sequence[str]) -> Path:
    """What amplifying a latent gave hangs on no fold and no emotion: it is kept for all, and for the next run."""
    key = digest([context.coder.fingerprint, context.model.describe(), list(prompts)])
    return context.path / "cells" / f"amplified-{key[:12]}.json"


def _controls(context: Context, turn: _Turn, wanted: Sequence[str]) -> list[Arm]:
    """Controls of an emotion each."""
    from emovec_sae.interventions.comparison import controls

    section, seed = context.study.interventions, context.study.seed
    found: list[Arm] = []
    if "permuted" in wanted:
        frame = turn.acts.frame
        found += controls.permuted_label_arms(
            turn.decomposed, section.arms_for, values=turn.acts[str(context.site)].pooled("mean"),
            labels=frame["emotion"].tolist(), groups=frame["group"].tolist(), seed=seed,
        )  # fmt: skip
    if "other" in wanted:
        found += controls.other_emotion_arms(turn.directions, section.arms_for, seed=seed)
    if "flipped" in wanted:
        found += controls.flipped_arms(turn.directions, section.arms_for)
    if "topics" in wanted:
        found += controls.other_topics_arms(turn.decomposed, section.arms_for)
    return found


def _shared_controls(context: Context, wanted: Sequence[str]) -> list[Arm]:
    """Controls that serve every emotion and fold."""
    from emovec_sae.interventions.arms import pass_through_arm
    from emovec_sae.interventions.comparison import controls

    section, seed, site = context.study.interventions, context.study.seed, context.site
    found: list[Arm] = []
    if "covariance" in wanted:
        values = context.neutral_acts[str(site)].pooled("mean")
        found += controls.covariance_arms(site, values, draws=section.random_draws, seed=seed)
    if "pass-through" in wanted:
        found.append(pass_through_arm(context.coder))
    return found
