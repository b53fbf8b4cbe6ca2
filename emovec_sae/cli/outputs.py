"""emovec figures, report: pictures and a page of a finished run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from emovec_sae.cli.options import Json
from emovec_sae.cli.output import answer, bar, say
from emovec_sae.errors import ConfigError


def figures(
    run: Path | None = None,
    *,
    from_: Annotated[Path | None, Parameter(name="--from")] = None,
    family: str | None = None,
    out: Path | None = None,
    width: str | None = None,
    json_: Json = False,
) -> None:
    """Draw the figures of a run, or a stored table again: svg, pdf, png, specification, table, caption, provenance.

    Parameters
    ----------
    run
        Folder of a run.
    from_
        Instead of a run: NAME.parquet or NAME.csv of a figure, or a folder of figures. No model is needed, nor torch.
    family
        Chart family of the table; by default that of the provenance beside it.
    out
        Folder of the figures; RUN/figures by default, and wanted with --from.
    width
        single (89 mm), double (183 mm) or a number of mm.
    """
    asked = _width(width)
    if from_ is not None:
        _redraw(run, from_, family=family, out=out, width=asked, json_=json_)
        return
    if run is None:
        raise ConfigError("nothing to draw; name the folder of a run, or a table with --from")
    if family is not None:
        raise ConfigError("--family goes with --from; the figures of a run have their own families")
    from emovec_sae.studies.figures import draw_figures, run_facts

    facts = run_facts(run)
    with bar("draw figures") as progress:
        drawn = draw_figures(run, facts=facts, out=out, width=asked or "double", progress=progress)
    for name, why in drawn.left_out.items():
        say(f"left out {name}: {why}")
    _answer(drawn.files, drawn.left_out, where=out or run / "figures", json_=json_)


def _redraw(
    run: Path | None, source: Path, *, family: str | None, out: Path | None, width: str | float | None, json_: bool
) -> None:
    from emovec_sae.charts.redrawing import redraw

    if run is not None:
        raise ConfigError(f"draw the run {run} or the table {source}, not both at once")
    if out is None:
        raise ConfigError("--from needs --out: the folder that the figures go to")
    with bar("draw figures") as progress:
        files = redraw(source, out, family=family, width=width, progress=progress)
    _answer(files, {}, where=out, json_=json_)


def _answer(files: Sequence[Path], left_out: dict[str, str], *, where: Path, json_: bool) -> None:
    result = {"figures": [str(path) for path in files], "left_out": left_out}
    answer(result, json_=json_, text=f"{len(files)} files in {where}")


def _width(text: str | None) -> str | float | None:
    """A name as it is, a number as mm."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def report(run: Path, *, out: Path | None = None, card: Path | None = None, json_: Json = False) -> None:
    """Write a run's report: one HTML file that needs no network.

    Parameters
    ----------
    run
        Folder of a run.
    out
        The file; RUN/report.html by default.
    card
        Folder of a finished score card (emovec bench) to show in it; that of the run by default, if it has one.
    """
    from emovec_sae.report.page import write_report

    answer({"report": str(write_report(run, out=out, card=card))}, json_=json_)
