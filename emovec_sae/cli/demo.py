"""emovec demo, run, compare: studies from start to report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from emovec_sae.cli.options import Json
from emovec_sae.cli.output import answer, say
from emovec_sae.cli.stages import StageBars


def demo(*, out: Path = Path("runs/demo"), json_: Json = False) -> None:
    """Run the whole pipeline on the embedded model, from texts to report.

    A stage whose settings and inputs are unchanged is not run again; after Ctrl-C the same command goes on.

    Parameters
    ----------
    out
        Folder of the run.
    """
    from emovec_sae.studies.demo import demo_study

    _run(demo_study(), out, base=Path(), json_=json_)


def run(study: Path, *, out: Path | None = None, json_: Json = False) -> None:
    """Run a study file, every stage.

    Parameters
    ----------
    study
        A YAML file; an unknown key is an error.
    out
        Folder of the run; runs/NAME of the study file by default.
    """
    from emovec_sae.config import load_study

    _run(load_study(study), out or Path("runs") / study.stem, base=study.resolve().parent, json_=json_)


def compare(study: Path, *, out: Path | None = None, json_: Json = False) -> None:
    """Compare the arms of a study at equal dose: it fits, selects, calibrates and tests on its own splits.

    Parameters
    ----------
    study
        A YAML file; its stages up to the comparison are run if they are not done.
    out
        Folder of the run; runs/NAME of the study file by default.
    """
    from emovec_sae.config import load_study
    from emovec_sae.studies.run import compare_study

    loaded, folder = load_study(study), out or Path("runs") / study.stem
    with StageBars() as reporter:
        found = compare_study(loaded, folder, base=study.resolve().parent, reporter=reporter)
    answer(found, json_=json_)


def _run(study: Any, out: Path, *, base: Path, json_: bool) -> None:
    from emovec_sae.report.page import write_report
    from emovec_sae.studies.run import run_study

    began = time.monotonic()
    with StageBars() as reporter:
        found = run_study(study, out, base=base, reporter=reporter)
    page = write_report(out)
    seconds = round(time.monotonic() - began, 1)
    scores = {f"{row['group']}: {row['name']}": row for row in found["scores"]}
    say("")
    for paragraph in found["verdict"]:
        say(paragraph)
    result = {
        "run": str(out),
        "report": str(page),
        "seconds": seconds,
        "stages": reporter.seconds,
        "cached": reporter.cached,
    }
    answer({**result, "scores": scores}, json_=json_, text=f"report: {page} ({seconds} s)")
