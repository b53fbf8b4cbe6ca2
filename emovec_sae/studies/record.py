"""Stage 1: record the texts."""

from __future__ import annotations

from typing import Any

from emovec_sae.studies.context import Context
from emovec_sae.studies.stage import Progress, Run


def record_stage(run: Run, context: Context) -> None:
    """Pool every text at the study's sites and keep the tokens of the site that is decomposed."""
    study = context.study

    def work(progress: Progress) -> None:
        """Record both corpora."""
        from emovec_sae.recording.record import record

        pooled = {study.recording.sites: ("mean",)}
        every = pooled | {str(context.site): ("mean", "none")}
        options: dict[str, Any] = {"offset": study.recording.offset, "budget": study.recording.budget}
        total = len(context.corpus) + len(context.neutral)
        share = len(context.corpus) / total

        def first(done: int, out_of: int) -> None:
            """Progress of the corpus, as its share of all texts."""
            progress(round(1000 * share * done / out_of), 1000)

        def second(done: int, out_of: int) -> None:
            """Progress of the neutral texts, behind that of the corpus."""
            progress(round(1000 * (share + (1 - share) * done / out_of)), 1000)

        folder = context.recorded
        record(context.model, context.corpus, sites=every, out=folder / "corpus", progress=first, **options)
        record(context.model, context.neutral, sites=pooled, out=folder / "neutral", progress=second, **options)

    folder = context.recorded.relative_to(context.path)
    outputs = [str(folder / name / "manifest.json") for name in ("corpus", "neutral")]
    settings = context.recording_settings
    run.stage("record", "record the texts", settings=settings, outputs=outputs, work=work)
