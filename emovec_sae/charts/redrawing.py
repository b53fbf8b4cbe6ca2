"""Draw a figure again from its table alone: family, options, caption and provenance come from the file beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from emovec_sae.charts.save import save_chart
from emovec_sae.errors import ConfigError, StoreError
from emovec_sae.provenance import collect, file_digest, read_json

KINDS = (".parquet", ".csv")
"""Endings of tables that can be drawn."""


def redraw(
    source: str | Path,
    out: str | Path,
    *,
    family: str | None = None,
    options: Mapping[str, Any] | None = None,
    width: str | float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Draw a stored table again, or every figure below a folder.

    What the picture is and how it was drawn stands in ``NAME.provenance.json`` beside the table; its facts go on into
    the new provenance, and a caption that was written for this very table is kept.

    Parameters
    ----------
    source
        ``NAME.parquet`` or ``NAME.csv``, or a folder of figures (searched with all that is below it).
    out
        Folder of the figures; those of a folder keep their places below it.
    family
        Chart family of one table; None takes that of the provenance.
    options, width
        In place of those of the provenance.
    progress
        Called with (figures done, in all).

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    StoreError
        If there is no such table, or it cannot be read.
    ConfigError
        If nobody says what the family is, or the table lacks its columns.
    """
    source, out = Path(source), Path(out)
    if not source.is_dir():
        return _one(source, out, family=family, options=options, width=width)
    if family is not None:
        raise ConfigError(f"{source} is a folder, whose figures have their own families; name one table, or no family")
    tables = list(_tables(source))
    if not tables:
        raise StoreError(f"{source} holds no figure: no NAME.parquet with a NAME.provenance.json that names its family")
    written: list[Path] = []
    for done, table in enumerate(tables, start=1):
        written += _one(table, out / table.parent.relative_to(source), family=None, options=options, width=width)
        if progress is not None:
            progress(done, len(tables))
    return written


def _tables(folder: Path) -> Iterable[Path]:
    for beside in sorted(folder.rglob("*.provenance.json")):
        table = _sibling(beside, ".parquet")
        if table.is_file() and read_json(beside).get("drawing"):
            yield table


def _sibling(beside: Path, suffix: str) -> Path:
    return beside.with_name(beside.name.removesuffix(".provenance.json") + suffix)


def _one(
    path: Path, out: Path, *, family: str | None, options: Mapping[str, Any] | None, width: str | float | None
) -> list[Path]:
    from emovec_sae.charts import caption, draw

    frame = read_table(path)
    record = path.with_name(f"{path.stem}.provenance.json")
    facts: dict[str, Any] = read_json(record) if record.is_file() else {}
    told = facts.get("drawing") or {}
    chosen = family or told.get("family")
    if chosen is None:
        raise ConfigError(f"{path} has no provenance that names its family; say which with --family")
    same = chosen == told.get("family")
    given = dict(options if options is not None else told.get("options", {}) if same else {})
    chart = draw(chosen, frame, width=width or told.get("width", "double"), **given)
    words = path.with_name(f"{path.stem}.caption.md")
    kept = same and words.is_file() and _unchanged(facts, words) and _unchanged(facts, path)
    text = words.read_text(encoding="utf-8") if kept else caption(chosen, frame)
    return save_chart(chart, out, path.stem, table=frame, provenance=_provenance(path, facts, kept=kept), caption=text)


def _unchanged(facts: Mapping[str, Any], path: Path) -> bool:
    return facts.get("files", {}).get(path.name) == file_digest(path)


def _provenance(path: Path, facts: dict[str, Any], *, kept: bool) -> dict[str, Any]:
    """That of the table where it is known and the table is the one that it speaks of; otherwise the file."""
    if kept:
        return facts
    return collect(redrawn={"table": path.name, "digest": file_digest(path)}, before=facts or None)


def read_table(path: Path) -> pd.DataFrame:
    """Read a table to draw.

    Raises
    ------
    StoreError
        If it is missing, no table, or neither Parquet nor CSV.
    """
    if path.suffix not in KINDS:
        raise StoreError(f"{path} cannot be drawn; a table is NAME.parquet or NAME.csv")
    if not path.is_file():
        raise StoreError(f"there is no table {path}")
    try:
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (ValueError, OSError) as error:
        raise StoreError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}") from error
