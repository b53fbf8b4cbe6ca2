"""Stage 5: arms at equal dose, and sample generations at the same dose."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from emovec_sae.provenance import atomic, digest, write_json
from emovec_sae.studies.arms import Plan, study_plan
from emovec_sae.studies.context import Context
from emovec_sae.studies.stage import Progress, Run
from emovec_sae.studies.tables import write_table

if TYPE_CHECKING:
    from emovec_sae.interventions.comparison.result import Comparison


def interventions_stage(run: Run, context: Context) -> None:
    """Raw and random for all emotions; for some, the latent arms and every level of the dose curves."""
    section = context.study.interventions

    def work(progress: Progress) -> None:
        """Compare the arms, tabulate what they do, and let some of them write."""
        emotions = context.emotions(section.emotions)
        plan = study_plan(context, emotions)
        found = _compare(context, plan, emotions, progress)
        found.save(context.path / "comparison.parquet")
        _tabulate(context, found)
        samples = _generations(context, plan.arms, found.doses, level=max([section.level, *section.levels]))
        write_json(context.path / "generations.json", samples)

    outputs = ["verdict.md", "comparison.parquet", "comparison.doses.parquet", "comparison.json", "generations.json",
               "tables/effects.parquet", "tables/dose_curves.parquet", "tables/ratios.parquet",
               "tables/falsifiers.parquet", "tables/ratios_by_fold.parquet"]  # fmt: skip
    outputs += [f"folds/{fold}/contrast.parquet" for fold in range(section.folds) if section.folds > 1]
    settings = {**section.model_dump(), "seed": context.study.seed}
    after = ["directions", "decomposition"]
    run.stage(
        "interventions", "compare the arms at equal dose", settings=settings, after=after, outputs=outputs, work=work
    )


def _compare(context: Context, plan: Plan, emotions: list[str], progress: Progress) -> Comparison:
    """Effects of the plan's arms at their levels on the prompts that are kept for the report."""
    from emovec_sae.corpora.lexicon import contrast_words, load_lexicon
    from emovec_sae.corpora.prompts import load_prompts
    from emovec_sae.interventions.compare import compare
    from emovec_sae.interventions.comparison.instruction import score_instruction, with_instruction
    from emovec_sae.scoring.damage import KLProbe
    from emovec_sae.scoring.words import WordScorer

    section, model, site = context.study.interventions, context.model, context.site
    lexicon = contrast_words(load_lexicon(), use="held_out", emotions=emotions)
    words = [word for some in lexicon.values() for word in some]
    prompts = load_prompts(kind=["word_third", "word_first"], use="report")
    if section.prompts is not None:
        prompts = prompts.groupby("kind").head(section.prompts)
    texts = prompts["text"].tolist()
    found = compare(
        plan.arms,
        scorer=WordScorer(model, texts, words, site=site),
        probe=KLProbe(
            model, context.neutral.frame["text"].tolist(), site=site, positions=section.positions,
            per_text=section.per_text, seed=context.study.seed,
        ),
        lexicon=lexicon,
        levels=plan.levels,
        residual_norm=context.directions.residual_norm,
        fidelity=section.fidelity,
        cells=_cells(context, emotions),
        progress=progress,
    )  # fmt: skip
    if section.instruction:
        told = score_instruction(model, texts, lexicon, section.arms_for, site=site)
        found = with_instruction(found, told)
    return found


def _tabulate(context: Context, found: Comparison) -> None:
    """Write the tables of the figures and the report, and the verdict."""
    section, seed = context.study.interventions, context.study.seed
    frame = found.frame(seed=seed)
    write_table(context.path, "effects", frame)
    drawn = frame["emotion"].isin(section.arms_for) & frame["arm"].isin(_drawn(section.sizes))
    write_table(context.path, "dose_curves", frame[drawn])
    write_table(context.path, "ratios", found.ratios(section.level, seed=seed))
    write_table(context.path, "falsifiers", found.falsifiers(section.level, seed=seed))
    write_table(context.path, "ratios_by_fold", found.ratios_by_fold(section.level, seed=seed))
    with atomic(context.path / "verdict.md") as part:
        part.write_text(found.page(section.level, seed=seed, title=context.study.title), encoding="utf-8")


def _drawn(sizes: list[int]) -> list[str]:
    """Arms of the dose curves: more would hide each other."""
    from emovec_sae.interventions.comparison.names import LatentArm

    return ["raw", *(str(LatentArm("latents", k)) for k in sizes), "random"]


def _cells(context: Context, emotions: list[str]) -> Path:
    """Folder of the cells; what other arms are asked for does not change it, so that they add to what is there."""
    section = context.study.interventions
    settings = {"recording": context.recording_settings, "emotions": emotions, "seed": context.study.seed}
    settings |= {"positions": section.positions, "fidelity": section.fidelity}
    usual = type(section)()  # what has its default leaves the cells of earlier versions where they are
    settings |= {
        name: value
        for name, value in (("per_text", section.per_text), ("folds", section.folds), ("prompts", section.prompts))
        if value != getattr(usual, name)
    }
    settings |= {"residual norm": context.directions.residual_norm}
    return context.path / "cells" / digest(settings)[:12]


def _generations(context: Context, arms: Any, doses: Any, *, level: float) -> list[dict[str, Any]]:
    """One answer of each arm to the same prompt at the same dose, and the base model's; a row of one batch each."""
    from emovec_sae.corpora.prompts import load_prompts
    from emovec_sae.interventions.edits import ByRow
    from emovec_sae.models.generate import generate

    section = context.study.interventions
    prompt = load_prompts(kind="open", use="report")["text"].iloc[0]
    largest = f"k={max(section.sizes)}"
    chosen = [
        arm
        for arm in arms
        if arm.fold == 0
        and (
            (arm.emotion in section.arms_for and arm.name in ("raw", largest))
            or (arm.name == "random" and arm.draw == 0)
        )
    ]
    rows: list[dict[str, Any]] = [{"emotion": "", "arm": "base", "dose": "none"}]
    edits: list[Any] = [None]
    for arm in chosen:
        own = doses[(doses["arm"] == arm.name) & (doses["draw"] == arm.draw)]
        own = own[(own["fold"] == arm.fold) & (own["level"] == level)]
        own = own[own["emotion"].isna()] if arm.emotion is None else own[own["emotion"] == arm.emotion]
        dose = own.iloc[0]
        edits.append(arm.edit.at(float(dose["coefficient"])))
        told = f"{dose['kl']:.2f} nats, strength {dose['strength']:.2f}"
        rows.append({"emotion": arm.emotion or "", "arm": arm.name, "dose": told})
    edit = ByRow(tuple(edits), context.site)
    texts = generate(context.model, [prompt] * len(rows), edits=[edit], max_new_tokens=section.new_tokens)
    return [{**row, "prompt": prompt, "text": text.strip()} for row, text in zip(rows, texts, strict=True)]
