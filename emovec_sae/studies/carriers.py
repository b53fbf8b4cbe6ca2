"""Stage: what carries the answer from one text into the other, the whole state, a direction of it, or its latents."""

from __future__ import annotations

from emovec_sae.errors import ConfigError, suggest
from emovec_sae.studies.context import Context
from emovec_sae.studies.stage import Progress, Run
from emovec_sae.studies.tables import write_table


def check_carriers(context: Context) -> None:
    """Refuse what cannot be moved before anything is computed.

    Raises
    ------
    ConfigError
        If a name is unknown.
    """
    from emovec_sae.interventions.patches.request import WHAT

    for one in context.study.patching.carriers:
        if one not in WHAT:
            raise ConfigError(f"patching.carriers names '{one}'{suggest(one, WHAT)}; there are {', '.join(WHAT)}")


def carriers_stage(run: Run, context: Context) -> None:
    """Patch what the study names by parts of the text, on the same pairs; nothing where it names nothing."""
    section = context.study.patching
    if not section.carriers:
        return

    def work(progress: Progress) -> None:
        """Patch part by part, and tabulate what each recovers."""
        from emovec_sae.corpora.pairs import load_pairs
        from emovec_sae.interventions.patching import patch

        found = patch(
            context.model, load_pairs(context.named(section.pairs)), sites=context.study.recording.sites,
            what=section.carriers, positions="spans", directions=context.directions, sae=context.coder,
            decomposition=context.decomposition("contrast"), k=section.k, limit=section.limit,
            seed=context.study.seed, progress=progress,
        )  # fmt: skip
        found.save(context.path / "carriers.parquet")
        write_table(context.path, "carriers", found.map(seed=context.study.seed))

    settings = {
        "pairs": section.pairs, "limit": section.limit, "what": section.carriers, "k": section.k,
        "sites": context.study.recording.sites, "seed": context.study.seed,
    }  # fmt: skip
    run.stage(
        "carriers",
        "patch directions and latents between minimal pairs",
        settings=settings,
        after=["directions", "sae", "decomposition"],
        outputs=["carriers.parquet", "carriers.json", "tables/carriers.parquet"],
        work=work,
    )
