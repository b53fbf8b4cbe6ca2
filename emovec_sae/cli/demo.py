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
    """Run a study file, every stage; a file with the key 'checks' runs these checks of the score card.

    Parameters
    ----------
    study
        A YAML file; an unknown key is an error.
    out
        Folder of the run; runs/NAME by default, of the study file, or of its folder if it is called study.yaml.
    """
    from emovec_sae.config import CheckStudy, read_study

    loaded, base = read_study(study), study.resolve().parent
    folder = out or _folder(study)
    if isinstance(loaded, CheckStudy):
        _run_checks(loaded, folder, base=base, json_=json_)
    else:
        _run(loaded, folder, base=base, json_=json_)


def compare(study: Path, *, out: Path | None = None, json_: Json = False) -> None:
    """Compare the arms of a study at equal dose: it fits, selects, calibrates and tests on its own splits.

    Parameters
    ----------
    study
        A YAML file; its stages up to the comparison are run if they are not done.
    out
        Folder of the run; runs/NAME by default, as of run.
    """
    from emovec_sae.config import load_study
    from emovec_sae.studies.run import compare_study

    loaded, folder = load_study(study), out or _folder(study)
    with StageBars() as reporter:
        found = compare_study(loaded, folder, base=study.resolve().parent, reporter=reporter)
    text = "\n".join([*found["verdict"], f"verdict, on a page: {found['page']}"])
    answer(found, json_=json_, text=text)


def _folder(study: Path) -> Path:
    return Path("runs") / (study.resolve().parent.name if study.stem == "study" else study.stem)


def _run_checks(study: Any, out: Path, *, base: Path, json_: bool) -> None:
    from emovec_sae.studies.bench.study import run_checks

    with StageBars() as reporter:
        found = run_checks(study, out, base=base, reporter=reporter)
    told = {"run": str(out), "table": str(out / "numbers.csv"), "stages": reporter.seconds, **found}
    heads = [row for row in found["numbers"] if row["headline"]]
    lines = [f"{row['model']}: {row['title']}: {row['number']} {_told(row)}" for row in heads]
    answer(told, json_=json_, text="\n".join([*lines, f"table: {out / 'numbers.csv'}"]))


def _told(row: dict[str, Any]) -> str:
    if row["value"] is None:
        return "-"
    between = "" if row["low"] is None else f" [{row['low']:.2f}, {row['high']:.2f}]"
    return f"{row['value']:.2f}{between}"


def _tells_all(page: Path, run: Path) -> bool:
    """Whether the page is there, and younger than all that it may show."""
    if not page.is_file():
        return False
    shown = [run, *(run / name for name in ("stages", "figures", "tables", "checks"))]
    files = [file for folder in shown if folder.is_dir() for file in folder.iterdir() if file.is_file()]
    written = page.stat().st_mtime_ns
    same = (page.name, ".lock", "study.json")  # every run writes the study anew; what of it counts, stages know
    return all(file.stat().st_mtime_ns <= written for file in files if file.name not in same)


def _run(study: Any, out: Path, *, base: Path, json_: bool) -> None:
    from emovec_sae.report.page import write_report
    from emovec_sae.studies.run import run_study

    began = time.monotonic()
    with StageBars() as reporter:
        found = run_study(study, out, base=base, reporter=reporter)
    page = out / "report.html"
    if not (set(reporter.seconds) <= set(reporter.cached) and _tells_all(page, out)):
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
