"""Stage 8: the numbers of a run in one place, and the verdict in words made from them."""

from __future__ import annotations

from emovec_sae.provenance import collect, read_json, write_json
from emovec_sae.studies.context import Context
from emovec_sae.studies.figures import run_facts
from emovec_sae.studies.scores import comparison_summary, gather_scores
from emovec_sae.studies.stage import Progress, Run
from emovec_sae.studies.verdict import write_verdict

STAGES = ("directions", "sae", "decomposition", "interventions", "patching")


def summary_stage(run: Run, context: Context) -> None:
    """Write ``results.json``: title, model, verdict, scores, provenance."""

    def work(progress: Progress) -> None:
        """Gather the numbers, and write them."""
        compared = comparison_summary(context)
        scores = gather_scores(context, compared)
        seconds = {name: read_json(context.path / "stages" / f"{name}.json")["seconds"] for name in ("record", *STAGES)}
        model, device = context.acts.model, context.acts.provenance["device"]
        results = {
            "title": context.study.title,
            "model": f"{model['name']} ({model['dtype']} on {device}), {context.site}",
            "verdict": write_verdict(scores, context.study, site=str(context.site), compared=compared["verdict"]),
            "scores": scores,
            "provenance": collect(**run_facts(context.path), activations=context.acts.fingerprint, seconds=seconds),
        }
        write_json(context.path / "results.json", results)
        progress(1, 1)

    outputs = ["results.json"]
    settings = {"title": context.study.title}
    run.stage("summary", "gather the numbers", settings=settings, after=STAGES, outputs=outputs, work=work)
