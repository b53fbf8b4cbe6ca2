"""A result in files: a table as Parquet, a second one beside it, and a JSON file with the provenance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from emovec_sae.errors import StoreError
from emovec_sae.provenance import atomic, read_json, write_json


def write_tables(
    path: str | Path, table: pd.DataFrame, second: pd.DataFrame, *, beside: str, provenance: dict[str, Any]
) -> Path:
    """Write two tables and what they were made with.

    Parameters
    ----------
    path
        File of the first table; the others get its name with other endings.
    table, second
        The tables.
    beside
        What the second is called: ``doses`` gives ``STEM.doses.parquet``.
    provenance
        For the JSON file.

    Returns
    -------
    pathlib.Path
        File of the first table.
    """
    first, other, told = _files(path, beside)
    for rows, name in ((table, first), (second, other)):
        with atomic(name) as part:
            rows.to_parquet(part, index=False)
    write_json(told, {"provenance": provenance})
    return first


def read_tables(path: str | Path, *, beside: str, again: str) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Read what `write_tables` wrote: both tables and the provenance.

    Raises
    ------
    StoreError
        If one of the files is missing; the message says what to do `again`.
    """
    files = _files(path, beside)
    for file in files:
        if not file.is_file():
            raise StoreError(f"{file} is missing; {again} again with: emovec compare STUDY.yaml")
    return pd.read_parquet(files[0]), pd.read_parquet(files[1]), read_json(files[2])["provenance"]


def _files(path: str | Path, beside: str) -> tuple[Path, Path, Path]:
    path = Path(path)
    return path, path.with_name(f"{path.stem}.{beside}.parquet"), path.with_suffix(".json")
