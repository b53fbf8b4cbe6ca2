"""Stage: what commonly goes wrong with emotion directions, asked of the run's texts and activations."""

from __future__ import annotations

from emovec_sae.studies.context import Context
from emovec_sae.studies.stage import Progress, Run


def diagnostics_stage(run: Run, context: Context) -> None:
    """Write ``diagnose.json``: the diagnostics at the site of the directions."""

    def work(progress: Progress) -> None:
        """Diagnose, and write what was found."""
        from emovec_sae.directions.diagnostics import diagnose

        section, seed = context.study.directions, context.study.seed
        found = diagnose(context.acts, context.site, readout=section.readout, seed=seed)
        found.save(context.path / "diagnose.json")
        progress(1, 1)

    settings = {"site": str(context.site), "readout": context.study.directions.readout, "seed": context.study.seed}
    run.stage(
        "diagnostics",
        "ask what commonly goes wrong",
        settings=settings,
        after=["record"],
        outputs=["diagnose.json"],
        work=work,
    )
