"""emovec figures, report: pictures and a page of a finished run."""

from __future__ import annotations

from pathlib import Path

from emovec_sae.cli.options import Json
from emovec_sae.cli.output import answer, bar


def figures(run: Path, *, out: Path | None = None, json_: Json = False) -> None:
    """Draw the figures of a run again from its tables: svg, png, pdf, the table, caption and provenance.

    Parameters
    ----------
    run
        Folder of a run.
    out
        Folder of the figures; RUN/figures by default.
    """
    from emovec_sae.studies.figures import draw_figures, run_facts

    with bar("draw figures") as progress:
        written = draw_figures(run, facts=run_facts(run), out=out, progress=progress)
    answer(
        {"figures": [str(path) for path in written]},
        json_=json_,
        text=f"{len(written)} files in {out or run / 'figures'}",
    )


def report(run: Path, *, out: Path | None = None, json_: Json = False) -> None:
    """Write a run's report: one HTML file that needs no network.

    Parameters
    ----------
    run
        Folder of a run.
    out
        The file; RUN/report.html by default.
    """
    from emovec_sae.report.page import write_report

    answer({"report": str(write_report(run, out=out))}, json_=json_)
