"""Read the folder of a run for the report; what is missing or misshapen is named, with the command that makes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from emovec_sae.charts import FAMILIES
from emovec_sae.errors import StoreError

Read = TypeVar("Read")


class Part(BaseModel):
    """Keys that a later version adds to a file are let through: the report shows what it knows."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Score(Part):
    """One number of the score table; `low`, `high` and `n` are None where the number has none."""

    group: str
    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    note: str = ""


class Results(Part):
    """What ``results.json`` holds."""

    title: str
    model: str
    verdict: list[str]
    scores: list[Score]
    provenance: dict[str, Any]


class Share(Part):
    """Share of an emotion's |v|^2 that a latent holds, signed, with its interval."""

    emotion: str
    share: float
    low: float | None = None
    high: float | None = None


class Piece(Part):
    """A token of a passage and how strongly the latent fires on it."""

    token: str
    activation: float


class Passage(Part):
    """A story passage, cut into tokens."""

    emotion: str
    id: str
    pieces: list[Piece]


class Latent(Part):
    """A latent with the emotions that it takes part in, its decoder's tokens and the passages where it fires most."""

    latent: int
    emotions: list[Share]
    tokens_up: list[str]
    firing_rate: float
    passages: list[Passage]


class Generation(Part):
    """A continuation of a prompt under one arm."""

    emotion: str
    prompt: str
    arm: str
    dose: str
    text: str


@dataclass(frozen=True)
class Figure:
    """The files of one figure; all but perhaps the Parquet exist."""

    name: str
    svg: Path
    png: Path
    csv: Path
    parquet: Path
    caption: str


@dataclass(frozen=True)
class Run:
    """Everything that the page shows, read and checked."""

    path: Path
    results: Results
    figures: list[Figure]
    latents: list[Latent]
    generations: list[Generation]
    verdict: str


def read_run(path: str | Path) -> Run:
    """Read a run folder.

    Raises
    ------
    StoreError
        If the folder or a file in it is missing or cannot be read; the message names the file and the command.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise StoreError(f"there is no run at '{folder}'; make one with: emovec run STUDY.yaml --out {folder}")
    return Run(
        path=folder,
        results=read_json_as(folder, "results.json", TypeAdapter(Results)),
        figures=[read_figure(folder / "figures", name) for name in _drawn(folder)],
        latents=read_json_as(folder, "latents.json", TypeAdapter(list[Latent])),
        generations=read_json_as(folder, "generations.json", TypeAdapter(list[Generation])),
        verdict=_text(folder / "verdict.md"),
    )


def read_json_as(folder: Path, name: str, shape: TypeAdapter[Read]) -> Read:
    """Read a JSON file of a folder in the given shape; errors as in `read_run`."""
    path = folder / name
    again = f"make it with: emovec run STUDY.yaml --out {folder}"
    if not path.is_file():
        raise StoreError(f"'{path}' is missing; {again}")
    try:
        return shape.validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(step) for step in first["loc"]) or "the whole file"
        raise StoreError(f"'{path}' cannot be read at {place}: {first['msg']}; {again}") from error


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _drawn(folder: Path) -> list[str]:
    """Families of which there is a file, then what has other names: a run without a stage has fewer figures."""
    files = [path.name for path in (folder / "figures").glob("*.*")]
    known = [name for name in FAMILIES if any(file.startswith(f"{name}.") for file in files)]
    others = sorted({file.removesuffix(".caption.md") for file in files if file.endswith(".caption.md")} - {*known})
    return [*known, *others] or list(FAMILIES)[:1]  # whose absence is then named


def read_figure(base: Path, name: str) -> Figure:
    """Read the files of the figure `name` in the folder `base`; errors as in `read_run`."""
    files = {suffix: base / f"{name}.{suffix}" for suffix in ("svg", "png", "csv", "caption.md")}
    for path in files.values():
        if not path.is_file():
            raise StoreError(f"'{path}' is missing; make it with: emovec figures {base.parent}")
    caption = files["caption.md"].read_text(encoding="utf-8").strip()
    table = base / f"{name}.parquet"
    return Figure(name=name, svg=files["svg"], png=files["png"], csv=files["csv"], parquet=table, caption=caption)
