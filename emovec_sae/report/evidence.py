"""What stands behind the numbers of a run: diagnostics, the SAE's passport, missed doses, what was left out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from emovec_sae.report.run import Part, read_json_as

if TYPE_CHECKING:
    import pandas as pd

STAGES = {
    "record": "recording",
    "directions": "directions",
    "sae": "sae",
    "decomposition": "decomposition",
    "portraits": "",
    "interventions": "interventions",
    "generations": "generations",
    "patching": "patching",
    "carriers": "patching.carriers",
    "diagnostics": "",
    "figures": "",
    "summary": "",
}
"""Stage of a study, in order -> the key of the study that it follows; "" where it has none."""

MOST_MISSED = 40
"""Missed doses that the page lists; the table to download has all."""


class Finding(Part):
    """What a diagnostic says; `value` is None where it measured nothing."""

    code: str
    name: str
    status: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int
    threshold: float | None = None
    message: str
    measure: str = ""


class _Diagnosis(Part):
    findings: dict[str, Finding]


class _Interval(Part):
    value: float
    low: float | None = None
    high: float | None = None


class _Passport(Part):
    sae: str
    site: str
    explained_variance: _Interval
    l0: _Interval
    dead_share: float
    dense_share: float
    n_tokens: int
    n_texts: int
    texts_trained_on: int | None = None
    splice: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()


class Fact(Part):
    """A number of the passport, with its interval where it has one."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Missed:
    """A calibration that did not reach its dose."""

    arm: str
    emotion: str
    draw: int
    asked: float
    reached: float
    strength: float


@dataclass(frozen=True)
class Doses:
    """All calibrations of a run: how many there are, and which missed; None instead where the run has none."""

    count: int
    missed: list[Missed]


@dataclass(frozen=True)
class Stage:
    """A stage of the run: the seconds that it took, or why it is not there."""

    name: str
    about: str
    seconds: float | None
    why: str = ""


@dataclass(frozen=True)
class Evidence:
    """What the section of diagnostics shows.

    Attributes
    ----------
    findings, diagnosed
        Diagnostics EV001 and on, and the file that they come from; none and "" where they were not run.
    passport, notes
        The SAE's numbers, and what its passport remarks.
    doses
        Calibrated doses, None where no arms were compared.
    stages
        Stages in order.
    """

    findings: list[Finding]
    diagnosed: str
    passport: list[Fact]
    notes: list[str]
    doses: Doses | None
    stages: list[Stage]


def gather(run: Path, *, card: Path | None = None) -> Evidence:
    """Read what the run (or the folder of its score card) has.

    Raises
    ------
    StoreError
        If a file is there and cannot be read.
    """
    places = [run / "diagnose.json", run / "diagnosis.json", run / "checks" / "diagnostics.json"]
    places += [] if card is None else [card / "checks" / "diagnostics.json"]
    source = next((place for place in places if place.is_file()), None)
    told = None if source is None else read_json_as(source.parent, source.name, TypeAdapter(_Diagnosis))
    passport, notes = _passport(run)
    return Evidence(
        findings=[] if told is None else list(told.findings.values()),
        diagnosed="" if source is None else str(source.relative_to(run) if source.is_relative_to(run) else source),
        passport=passport,
        notes=notes,
        doses=_doses(run / "comparison.doses.parquet"),
        stages=_stages(run),
    )


def _passport(run: Path) -> tuple[list[Fact], list[str]]:
    if not (run / "passport.json").is_file():
        return [], []
    told = read_json_as(run, "passport.json", TypeAdapter(_Passport))
    trained = "the SAE keeps no list of its training texts"
    if told.texts_trained_on is not None:
        trained = f"{told.texts_trained_on} of {told.n_texts} texts were among its training texts"
    facts = [
        Fact(name="explained variance", **told.explained_variance.model_dump(), n=told.n_tokens, note=trained),
        Fact(name="active latents of a token (L0)", **told.l0.model_dump(), n=told.n_tokens),
        Fact(name="dead latents, share", value=told.dead_share, note="fired on none of these tokens"),
        Fact(name="dense latents, share", value=told.dense_share, note="fired on more than a tenth of these tokens"),
    ]
    for name in ("kl_recovered", "ce_recovered"):
        found = (told.splice or {}).get(name)
        if isinstance(found, dict):
            ends = _Interval.model_validate(found).model_dump()
            facts.append(Fact(name=f"{name.replace('_', ' ')} when spliced in", **ends))
    return facts, [f"{told.sae} at {told.site}", *told.notes]


def _doses(path: Path) -> Doses | None:
    if not path.is_file():
        return None
    from emovec_sae.charts.redrawing import read_table

    table = read_table(path)
    missed = table[~table["reached"].astype(bool)]
    return Doses(
        count=len(table),
        missed=[
            Missed(
                arm=str(row["arm"]), emotion=str(row["emotion"]) if isinstance(row["emotion"], str) else "all",
                draw=int(row["draw"]), asked=float(row["level"]), reached=float(row["kl"]),
                strength=float(row["strength"]),
            )
            for row in missed.to_dict("records")
        ],
    )  # fmt: skip


def _stages(run: Path) -> list[Stage]:
    """Stages in order; of those that are not there, why."""
    done = {path.stem: path for path in sorted((run / "stages").glob("*.json"))}
    if not done:
        return []
    study = read_json_as(run, "study.json", TypeAdapter(dict[str, Any])) if (run / "study.json").is_file() else {}
    sections = study.get("study", {})
    found: list[Stage] = []
    for name in [*STAGES, *(name for name in done if name not in STAGES)]:
        if name in done:
            told = read_json_as(done[name].parent, done[name].name, TypeAdapter(dict[str, Any]))
            found.append(Stage(name, str(told.get("about", "")), told.get("seconds")))
        elif STAGES[name] and not _asked(sections, STAGES[name]):
            found.append(Stage(name, "", None, f"the study does not set '{STAGES[name]}'"))
        else:
            found.append(Stage(name, "", None, "it was not run: the run stopped before, or is of an earlier version"))
    return found


def _asked(sections: dict[str, Any], key: str) -> bool:
    """Whether a study sets a key, such as ``patching.carriers``."""
    found: Any = sections
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found is not None and found != []


def missed_table(found: Evidence) -> pd.DataFrame:
    """All missed doses as a table to download."""
    import pandas as pd

    return pd.DataFrame([asdict(one) for one in (found.doses.missed if found.doses else [])])
