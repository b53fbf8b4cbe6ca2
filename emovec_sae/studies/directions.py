"""Stage 2: fit the directions, test them on held-out topics, look at their geometry and their logit lens."""

from __future__ import annotations

from emovec_sae.studies.context import Context
from emovec_sae.studies.stage import Progress, Run
from emovec_sae.studies.tables import write_table


def directions_stage(run: Run, context: Context) -> None:
    """Directions of every emotion at the study's site; the test goes over all recorded sites."""
    section = context.study.directions

    def work(progress: Progress) -> None:
        """Fit, evaluate, and tabulate geometry and logit lens."""
        from emovec_sae.corpora.norms import load_norms
        from emovec_sae.directions.denoise import NeutralComponents
        from emovec_sae.directions.evaluate import cross_validate
        from emovec_sae.directions.fit import fit_directions
        from emovec_sae.directions.logit_lens import logit_lens

        acts, seed = context.acts, context.study.seed
        remove = NeutralComponents(context.neutral_acts) if section.remove_neutral else None
        found = fit_directions(acts, site=context.site, remove=remove, readout=section.readout, seed=seed)
        found.save(context.path / "directions.safetensors", overwrite=True)
        progress(1, 4)
        tested = set(context.emotions(section.test_emotions))
        some = acts.where(acts.frame["emotion"].isin(tested))
        evaluation = cross_validate(some, readout=section.readout, remove=remove, seed=seed)
        evaluation.save(context.path / "evaluation.json")
        write_table(context.path, "site_sweep", evaluation.sweep_frame())
        at_site = cross_validate(some, sites=[context.site], readout=section.readout, remove=remove, seed=seed)
        at_site.save(context.path / "evaluation_at_site.json")
        progress(2, 4)
        geometry = found.geometry(load_norms(), seed=seed)
        geometry.save(context.path / "geometry.json")
        write_table(context.path, "vector_map", geometry.vector_map_frame())
        core = [one for one in context.emotions("core") if one in found]
        write_table(context.path, "similarity", geometry.similarity_frame(emotions=core))
        progress(3, 4)
        lens = logit_lens(found, context.model.unembedding(), context.model.token_strings, k=8)
        write_table(context.path, "logit_lens", lens)
        progress(4, 4)

    outputs = ["directions.safetensors", "evaluation.json", "evaluation_at_site.json", "geometry.json",
               "tables/site_sweep.parquet", "tables/vector_map.parquet", "tables/similarity.parquet",
               "tables/logit_lens.parquet"]  # fmt: skip
    settings = {**section.model_dump(), "seed": context.study.seed}
    run.stage(
        "directions", "fit and test the directions", settings=settings, after=["record"], outputs=outputs, work=work
    )
