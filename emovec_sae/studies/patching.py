"""Stage 6: activation patching on minimal pairs."""

from __future__ import annotations

from emovec_sae.studies.context import Context
from emovec_sae.studies.stage import Progress, Run
from emovec_sae.studies.tables import write_table


def patching_stage(run: Run, context: Context) -> None:
    """Patch the whole residual over sites and tokens."""
    section = context.study.patching

    def work(progress: Progress) -> None:
        """Patch, and tabulate the map."""
        from emovec_sae.corpora.pairs import load_pairs
        from emovec_sae.interventions.patching import patch

        pairs = load_pairs(context.named(section.pairs))
        found = patch(context.model, pairs, sites=section.sites, limit=section.limit, progress=progress)
        found.save(context.path / "patching.parquet")
        write_table(context.path, "patching", found.map(seed=context.study.seed))

    outputs = ["patching.parquet", "patching.json", "tables/patching.parquet"]
    settings = {
        **section.model_dump(exclude={"carriers", "k"}),
        "model": context.study.model.model_dump(),
        "seed": context.study.seed,
    }
    settings["limit over"] = "families"  # runs of before took the first pairs of the file, which are of one family
    run.stage("patching", "patch activations between minimal pairs", settings=settings, outputs=outputs, work=work)
