"""Stage 7: the figures, each with its table, its caption and its provenance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emovec_sae.errors import StoreError
from emovec_sae.provenance import collect, read_json
from emovec_sae.studies.stage import Progress, Run
from emovec_sae.studies.tables import read_table

INTERVALS = {
    "site_sweep": "95 % intervals over topics",
    "composition": "95 % intervals over topics",
    "dose_curves": "95 % bootstrap over prompts",
}
"""What the intervals of a figure are, in its subtitle."""
FIGURES = ("vector_map", "similarity", "site_sweep", "composition", "latents_by_emotion", "dose_curves", "patching")


def draw_figures(
    path: Path, *, facts: dict[str, Any], out: Path | None = None, progress: Progress | None = None
) -> list[Path]:
    """Draw every figure of a run from its tables.

    Parameters
    ----------
    path
        The run's folder.
    facts
        Go into each figure's provenance.
    out
        Folder of the figures; None means ``figures`` inside the run.
    progress
        Called after each figure.
    """
    from emovec_sae.charts import caption, draw, save_chart

    written: list[Path] = []
    for done, name in enumerate(FIGURES, start=1):
        frame = read_table(path, name)
        options = {"interval": INTERVALS[name]} if name in INTERVALS else {}
        provenance = collect(figure=name, table=f"tables/{name}.parquet", **facts)
        folder = out or path / "figures"
        written += save_chart(
            draw(name, frame, **options), folder, name, table=frame, provenance=provenance, caption=caption(name, frame)
        )
        if progress is not None:
            progress(done, len(FIGURES))
    return written


def run_facts(path: Path) -> dict[str, Any]:
    """What each figure's provenance says about its run.

    Raises
    ------
    StoreError
        If the folder is no run.
    """
    if not (path / "study.json").is_file():
        raise StoreError(f"{path} is no run: it has no study.json; make one with: emovec run STUDY.yaml")
    return {"run": path.name, "study": read_json(path / "study.json")["study"]}


def figures_stage(run: Run, *, facts: dict[str, Any]) -> None:
    """Draw the figures into the run's folder."""

    def work(progress: Progress) -> None:
        draw_figures(run.path, facts=facts, progress=progress)

    outputs = [f"figures/{name}.{kind}" for name in FIGURES for kind in ("svg", "png", "pdf", "parquet")]
    after = ["directions", "decomposition", "interventions", "patching"]
    run.stage("figures", "draw the figures", settings={}, after=after, outputs=outputs, work=work)
