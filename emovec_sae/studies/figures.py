"""Stage: the figures of a run, each with its table, its caption and its provenance."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from emovec_sae.errors import StoreError
from emovec_sae.provenance import collect, read_json
from emovec_sae.studies.figure_tables import DERIVED
from emovec_sae.studies.stage import Progress, Run
from emovec_sae.studies.tables import read_table

INTERVALS = {
    "site_sweep": "95 % intervals over topics",
    "composition": "95 % intervals over topics",
    "dose_curves": "95 % bootstrap over prompts",
}
"""What the intervals of a figure are, in its subtitle."""

FIGURES = {
    "vector_map": "directions",
    "similarity": "directions",
    "families": "directions",
    "site_sweep": "directions",
    "logit_lens": "directions",
    "token_heat": "portraits",
    "composition": "decomposition",
    "latents_by_emotion": "decomposition",
    "latent_dashboard": "portraits",
    "k_curves": "decomposition",
    "dose_curves": "interventions",
    "frontier": "interventions",
    "k90": "interventions",
    "specificity": "interventions",
    "patching": "patching",
    "carriers": "carriers",
}
"""Figure, which is also its family -> the stage that makes its table."""


@dataclass(frozen=True)
class Drawn:
    """What was drawn of a run.

    Attributes
    ----------
    files
        All that was written.
    left_out
        Figure -> why it could not be drawn.
    """

    files: tuple[Path, ...]
    left_out: dict[str, str]


def draw_figures(
    path: Path,
    *,
    facts: dict[str, Any],
    out: Path | None = None,
    width: str | float = "double",
    progress: Progress | None = None,
) -> Drawn:
    """Draw every figure of a run whose table it has.

    Parameters
    ----------
    path
        The run's folder.
    facts
        Go into each figure's provenance.
    out
        Folder of the figures; None means ``figures`` inside the run.
    width
        ``single``, ``double`` or mm; see `emovec_sae.charts.draw`.
    progress
        Called after each figure.
    """
    from emovec_sae.charts import caption, draw, save_chart

    files: list[Path] = []
    left_out: dict[str, str] = {}
    for done, name in enumerate(FIGURES, start=1):
        try:
            frame = _table(path, name)
        except (FileNotFoundError, StoreError) as error:
            left_out[name] = _why(path, name, error)
        else:
            provenance = collect(figure=name, made_of=_made_of(name), **facts)
            chart = draw(name, frame, width=width, **_options(path, name))
            words = caption(name, frame)
            folder = out or path / "figures"
            files += save_chart(chart, folder, name, table=frame, provenance=provenance, caption=words)
        if progress is not None:
            progress(done, len(FIGURES))
    return Drawn(tuple(files), left_out)


def left_out(path: Path, drawn: Collection[str]) -> dict[str, str]:
    """Say of each figure of `FIGURES` that is not among `drawn` why the run lacks it."""
    found: dict[str, str] = {}
    for name in FIGURES:
        if name not in drawn:
            try:
                _table(path, name)
            except (FileNotFoundError, StoreError) as error:
                found[name] = _why(path, name, error)
            else:
                found[name] = f"its table is there and it was not drawn; draw it with: emovec figures {path}"
    return found


def _table(path: Path, name: str) -> pd.DataFrame:
    made: Callable[[Path], pd.DataFrame] | None = DERIVED.get(name)
    frame = read_table(path, name) if made is None else made(path)
    if frame.empty:
        raise StoreError(f"the run's table of '{name}' has no rows")
    return frame


def _made_of(name: str) -> str:
    return f"the artefacts of stage {FIGURES[name]}" if name in DERIVED else f"tables/{name}.parquet"


def _why(path: Path, name: str, error: Exception) -> str:
    """One line: what is missing, and what makes it."""
    stage = FIGURES[name]
    if isinstance(error, FileNotFoundError):
        missing = Path(str(error.filename or error.args[-1])).name
        done = (path / "stages" / f"{stage}.json").is_file()
        reason = "which this study does not ask for" if done else f"which stage '{stage}' makes"
        return f"{missing} is missing, {reason}"
    return str(error)


def _options(path: Path, name: str) -> dict[str, Any]:
    if name in INTERVALS:
        return {"interval": INTERVALS[name]}
    if name == "specificity":
        return {"arm": "raw", "level": float(read_json(path / "study.json")["study"]["interventions"]["level"])}
    if name == "token_heat":
        from emovec_sae.studies.portraits import READOUT

        return {"readout": READOUT.replace("_", " ") + " (no unit)"}
    return {}


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


ALWAYS = ("vector_map", "similarity", "site_sweep", "composition", "latents_by_emotion", "dose_curves", "patching")
"""Figures that every finished run has, whatever its study asks for."""


def figures_stage(run: Run, *, facts: dict[str, Any]) -> None:
    """Draw the figures into the run's folder."""

    def work(progress: Progress) -> None:
        """Draw all of them."""
        draw_figures(run.path, facts=facts, progress=progress)

    outputs = [f"figures/{name}.{kind}" for name in ALWAYS for kind in ("svg", "png", "pdf", "parquet")]
    after = ["directions", "decomposition", "portraits", "interventions", "patching", "carriers"]
    after = [stage for stage in after if stage in run.keys]  # a study need not ask for carriers
    run.stage("figures", "draw the figures", settings={}, after=after, outputs=outputs, work=work)
