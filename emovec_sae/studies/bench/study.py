"""A study of checks: some checks of the score card, for one model or several, with their numbers in one table."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from emovec_sae.config import CheckStudy
from emovec_sae.directions.evaluation import records
from emovec_sae.errors import ConfigError, suggest
from emovec_sae.provenance import atomic, collect, digest, read_json, write_json
from emovec_sae.studies.alone import alone
from emovec_sae.studies.bench.checks import CHECKS, READ, STEER, check_all, choose
from emovec_sae.studies.bench.recordings import Bench, record_all
from emovec_sae.studies.bench.run import numbers_of
from emovec_sae.studies.bench.settings import BenchSettings
from emovec_sae.studies.stage import Reporter, Run, Silent

NAMES = ("topics", *CHECKS)
"""What ``checks`` may name; ``topics`` also holds the sweep over sites."""


def run_checks(
    study: CheckStudy, out: str | Path, *, base: str | Path = ".", reporter: Reporter | None = None
) -> dict[str, Any]:
    """Run the checks of a study and put their numbers and figures into one folder.

    Recordings, direction sets and checks lie in ``bench-MODEL`` beside the folder, where `emovec bench` puts them too:
    what one study has made is not made again for the next. Other texts or sites have a folder of their own.

    Parameters
    ----------
    study
        Settings.
    out
        Folder of the results: ``results.json``, ``numbers.csv``, ``figures/MODEL_CHECK.*``.
    base
        Folder that relative paths of models start from.
    reporter
        Who is told how it goes; nobody by default.

    Returns
    -------
    dict
        title, models, checks, seconds (by model, stages that were done before count with what they took), numbers
        (one row a number: model, check, title, number, value, low, high, n, null, p, ...), provenance.

    Raises
    ------
    ConfigError
        If a check does not exist, or two models are compared and there is one.
    """
    _known(study)
    folder = Path(out)
    tables: list[pd.DataFrame] = []
    seconds: dict[str, float] = {}
    at = {name: _bench_folder(study, name, folder) for name in study.models}
    with alone(folder):
        for name in study.models:
            made = _run(study, name, at[name], Path(base), reporter or Silent())
            tables.append(numbers_of(made, study.checks).assign(model=Path(name).name))
            stages = [read_json(made.path / "stages" / f"{stage}.json")["seconds"] for stage in made.run.keys]
            seconds[Path(name).name] = round(sum(stages), 1)
            _copy_figures(made.path / "figures", folder / "figures", Path(name).name, study.checks)
            _draw_maps(made, folder / "figures", Path(name).name, study.checks)
        if study.across:
            tables += [_across(study, at, folder, name) for name in (READ, STEER)]
        table = pd.concat(tables, ignore_index=True)
        table = table[["model", *(one for one in table.columns if one != "model")]]
        with atomic(folder / "numbers.csv") as part:
            table.to_csv(part, index=False, lineterminator="\n")
        told = {
            "title": study.title, "models": study.models, "checks": study.checks, "seconds": seconds,
            "numbers": records(table), "provenance": collect(study=study.model_dump(mode="json")),
        }  # fmt: skip
        write_json(folder / "results.json", told)
    return told


def _known(study: CheckStudy) -> None:
    for name in study.checks:
        if name not in NAMES:
            raise ConfigError(f"checks names '{name}'{suggest(name, NAMES)}; there are {', '.join(NAMES)}")
    if study.across and len(study.models) < 2:
        raise ConfigError(f"across compares models, and models names only {study.models[0]}; name another")


def _bench_folder(study: CheckStudy, model: str, folder: Path) -> Path:
    chosen = study.model_dump(include={"emotions", "groups", "sites"}, exclude_none=True)
    return folder.parent / "-".join(["bench", Path(model).name, *([digest(chosen)[:8]] if chosen else [])])


def _run(study: CheckStudy, model: str, path: Path, base: Path, reporter: Reporter) -> Bench:
    beside = base / model
    settings = BenchSettings(
        model=str(beside) if beside.is_dir() else model, seed=study.seed, sites=study.sites,
        emotions=",".join(study.emotions) if study.emotions else None,
        groups=",".join(study.groups) if study.groups else None,
    )  # fmt: skip
    with alone(path):
        made = Bench(settings, Run(path, reporter))
        wanted = {one for name in study.checks if name in CHECKS for one in CHECKS[name].recordings}
        record_all(made, {"stories", *wanted})
        choose(made)
        check_all(made, study.checks)
    return made


def _copy_figures(source: Path, target: Path, model: str, checks: list[str]) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for check in checks:
        for file in source.glob(f"{check}.*"):
            shutil.copyfile(file, target / f"{model}_{file.name}")


def _draw_maps(made: Bench, target: Path, model: str, checks: list[str]) -> None:
    """The map of the vectors beside each check of their shape."""
    from emovec_sae.charts import caption, draw, save_chart
    from emovec_sae.directions.files import load_directions

    for check, file in (("shape_read", READ), ("shape_steer", STEER)):
        if check in checks:
            found = load_directions(made.path / file).geometry()
            table = found.frame()
            name = f"{model}_map_{check.removeprefix('shape_')}"
            facts = {**found.provenance, "figure": "vector_map"}
            chart, told = draw("vector_map", table), caption("vector_map", table)
            save_chart(chart, target, name, table=table, provenance=facts, caption=told)


def _across(study: CheckStudy, at: Mapping[str, Path], folder: Path, file: str) -> pd.DataFrame:
    """Whether emotions are alike in the same way in the models, by one kind of vectors."""
    from emovec_sae.charts import save_chart
    from emovec_sae.directions.checks import compare_similarity
    from emovec_sae.directions.files import load_directions

    names = [Path(model).name for model in study.models]
    sets = {Path(model).name: load_directions(path / file) for model, path in at.items()}
    found = compare_similarity(sets, seed=study.seed)
    name = f"across_{Path(file).stem}"
    save_chart(
        found.plot(), folder / "figures", name, table=found.frame(), provenance=dict(found.provenance),
        caption=found.caption(),
    )  # fmt: skip
    title = "Across models" + (" (differences of means)" if file == STEER else "")
    return found.numbers.assign(check=name, title=title, model=" and ".join(names), headline=True)
