"""Stage 1: record the texts."""

from __future__ import annotations

from typing import Any

from emovec_sae.studies.context import Context
from emovec_sae.studies.stage import Progress, Run


def record_stage(run: Run, context: Context) -> None:
    """Pool every text at the study's sites and keep the tokens of the site that is decomposed."""
    study = context.study
    settings = {
        "model": study.model.model_dump(),
        "corpus": [context.corpus.fingerprint, context.neutral.fingerprint],
        "recording": study.recording.model_dump(),
        "site": str(context.site),
    }

    def work(progress: Progress) -> None:
        from emovec_sae.recording.record import record

        sites = {study.recording.sites: ("mean",), str(context.site): ("mean", "none")}
        options: dict[str, Any] = {"sites": sites, "offset": study.recording.offset, "budget": study.recording.budget}
        total = len(context.corpus) + len(context.neutral)
        share = len(context.corpus) / total

        def first(done: int, out_of: int) -> None:
            progress(round(1000 * share * done / out_of), 1000)

        def second(done: int, out_of: int) -> None:
            progress(round(1000 * (share + (1 - share) * done / out_of)), 1000)

        folder = context.path / "activations"
        record(context.model, context.corpus, out=folder / "corpus", progress=first, **options)
        record(context.model, context.neutral, out=folder / "neutral", progress=second, **options)

    outputs = ["activations/corpus/manifest.json", "activations/neutral/manifest.json"]
    run.stage("record", "record the texts", settings=settings, outputs=outputs, work=work)
