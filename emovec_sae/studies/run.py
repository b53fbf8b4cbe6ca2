"""Run a study: every stage in its order, each done once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emovec_sae.config import Study
from emovec_sae.errors import ConfigError
from emovec_sae.provenance import read_json, write_json
from emovec_sae.studies.alone import alone
from emovec_sae.studies.arms import check_arms
from emovec_sae.studies.carriers import carriers_stage, check_carriers
from emovec_sae.studies.context import Context
from emovec_sae.studies.decomposition import decomposition_stage
from emovec_sae.studies.diagnostics import diagnostics_stage
from emovec_sae.studies.directions import directions_stage
from emovec_sae.studies.figures import figures_stage, run_facts
from emovec_sae.studies.generations import check_generations, generations_stage, generations_summary
from emovec_sae.studies.interventions import interventions_stage
from emovec_sae.studies.patching import patching_stage
from emovec_sae.studies.record import record_stage
from emovec_sae.studies.sae import sae_stage
from emovec_sae.studies.scores import comparison_summary
from emovec_sae.studies.stage import Reporter, Run, Silent
from emovec_sae.studies.summary import summary_stage


def run_study(
    study: Study, out: str | Path, *, base: str | Path = ".", reporter: Reporter | None = None
) -> dict[str, Any]:
    """Run every stage of a study into a folder.

    A stage whose settings and inputs are those of the last time is not run again, so an interrupted run goes on where
    it was, and a changed setting repeats only what depends on it.

    Parameters
    ----------
    study
        From `load_study` or `demo_study`.
    out
        Folder of the run.
    base
        Folder that relative paths in the study start from.
    reporter
        Who is told how it goes; nobody by default.

    Returns
    -------
    dict
        ``results.json`` of the run: title, model, verdict (sentences made from the numbers), scores, provenance.

    Raises
    ------
    EmovecError
        If a setting is impossible, an input is wrong, or another process runs into the folder.
    """
    path = Path(out)
    context = Context(study, path, Path(base))
    with alone(path):
        run = Run(path, reporter or Silent())
        _check(context)
        _through_interventions(run, context)
        generations_stage(run, context)
        patching_stage(run, context)
        carriers_stage(run, context)
        diagnostics_stage(run, context)
        figures_stage(run, facts=run_facts(path))
        summary_stage(run, context)
    return read_json(path / "results.json")


def compare_study(
    study: Study, out: str | Path, *, base: str | Path = ".", reporter: Reporter | None = None
) -> dict[str, Any]:
    """Run a study up to the comparison of its arms.

    Returns
    -------
    dict
        arms (ratios to the raw vectors with intervals), k90, level, above_random, wrong_way, reached, falsifiers,
        verdict (sentences), page (where they lie as Markdown); generations (means, ratios, wrong_way, regimes) where
        the study asks for texts.
    """
    path = Path(out)
    context = Context(study, path, Path(base))
    with alone(path):
        _check(context)
        run = Run(path, reporter or Silent())
        _through_interventions(run, context)
        generations_stage(run, context)
    texts = generations_summary(context)
    return comparison_summary(context) | ({} if texts is None else {"generations": texts})


def _through_interventions(run: Run, context: Context) -> None:
    record_stage(run, context)
    directions_stage(run, context)
    sae_stage(run, context)
    decomposition_stage(run, context)
    interventions_stage(run, context)


def _check(context: Context) -> None:
    """Refuse what cannot work before anything is computed."""
    from emovec_sae.corpora.lexicon import load_lexicon
    from emovec_sae.sites import parse_sites

    study = context.study
    sites = parse_sites(study.recording.sites.replace("*", "0-999"))
    if context.site not in sites:
        raise ConfigError(
            f"directions.site is {context.site}, which recording.sites ({study.recording.sites}) leaves out"
        )
    every, lexicon = set(context.corpus.emotions), load_lexicon()
    asked = context.emotions(study.interventions.emotions)
    for emotion in study.interventions.arms_for:
        if emotion not in asked:
            raise ConfigError(f"interventions.arms_for names '{emotion}', which interventions.emotions leaves out")
    check_arms(context)
    check_generations(context)
    check_carriers(context)
    lacking = [emotion for emotion in asked if emotion not in lexicon]
    if lacking:
        raise ConfigError(
            f"interventions.emotions: '{lacking[0]}' has no words in the lexicon; choose among the core emotions"
        )
    if study.decomposition.shown not in every:
        raise ConfigError(f"decomposition.shown names '{study.decomposition.shown}', which the corpus lacks")
    write_json(context.path / "study.json", {"study": study.model_dump(mode="json")})
