"""Decompositions on disk: ``NAME.parquet`` for the ranks, ``NAME.safetensors`` for arrays, ``NAME.json`` for the rest.

The JSON is written last and carries the hashes of the other two, so that a truncated file or a mixture is noticed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file

from emovec_sae.decomposition.passed import COLUMNS
from emovec_sae.decomposition.result import Decomposition
from emovec_sae.errors import ConfigError, StoreError
from emovec_sae.provenance import atomic, file_digest, read_json, write_json
from emovec_sae.sites import Site

FORMAT = "emovec-decomposition"
VERSION = "2"
"""2: curves with five nulls, the excess and the count; 1 had two nulls and no p."""
ARRAYS = ("index", "rows", "coefficients", "vectors", "removed")
FACTS = ("method", "k", "sae", "sae_fingerprint", "interval")


def save_decomposition(found: Decomposition, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a decomposition.

    Parameters
    ----------
    found
        What to write.
    path
        A path that ends in ``.parquet``.
    overwrite
        Whether existing files may be replaced.

    Returns
    -------
    Path
        The ``.parquet`` file.

    Raises
    ------
    ConfigError
        If the path has another ending, or a file is there and `overwrite` is not set.
    """
    table, arrays, sidecar = _paths(path)
    for old in (table, arrays, sidecar):
        if old.exists() and not overwrite:
            raise ConfigError(f"{old} exists and is not overwritten; choose another name or ask for overwriting")
    with atomic(table) as part:
        found.ranks.to_parquet(part, index=False)
        ranks = file_digest(part)
    with atomic(arrays) as part:
        save_file(_arrays(found), part)
        tensors = file_digest(part)
    write_json(
        sidecar,
        {
            "encoding-type": FORMAT,
            "encoding-version": VERSION,
            "ranks": ranks,
            "tensors": tensors,
            **{name: getattr(found, name) for name in FACTS},
            "emotions": list(found.emotions),
            "site": str(found.site),
            "model": dict(found.model),
            "summary": _records(found.summary),
            "curves": _records(found.curves),
            "provenance": dict(found.provenance),
        },
    )
    return table


def load_decomposition(path: str | Path) -> Decomposition:
    """Read what `Decomposition.save` wrote.

    Raises
    ------
    StoreError
        If a file is missing, of another version, truncated, or of another decomposition.
    """
    table, arrays, sidecar = _paths(path)
    for wanted in (table, arrays, sidecar):
        if not wanted.is_file():
            raise StoreError(f"{wanted} is missing; a decomposition is {table.name}, {arrays.name} and {sidecar.name}")
    try:
        facts: dict[str, Any] = read_json(sidecar)
        kind, version = facts["encoding-type"], facts["encoding-version"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{sidecar} is no sidecar of a decomposition: {error}") from error
    if (kind, version) != (FORMAT, VERSION):
        raise StoreError(
            f"{sidecar} is '{kind}' version {version}, this package reads '{FORMAT}' version {VERSION}; decompose again"
        )
    for file, name in ((table, "ranks"), (arrays, "tensors")):
        if file_digest(file) != facts[name]:
            raise StoreError(f"{file} does not fit its sidecar {sidecar.name}: it was cut short, or is of another run")
    numbers: dict[str, Any] = dict(load_file(arrays))
    return Decomposition(
        **{name: facts[name] for name in FACTS},
        emotions=tuple(facts["emotions"]),
        site=Site.parse(facts["site"]),
        model=facts["model"],
        ranks=pd.read_parquet(table),
        summary=_frame(facts["summary"]),
        curves=_frame(facts["curves"]),
        **{name: numbers[name] for name in ARRAYS},
        provenance=facts["provenance"],
        firing_rate=numbers.get("firing_rate"),
        tests=_tests(numbers, facts["emotions"]),
    )


def _paths(path: str | Path) -> tuple[Path, Path, Path]:
    target = Path(path)
    if target.suffix != ".parquet":
        raise ConfigError(f"a decomposition is written to a name that ends in .parquet, got '{target.name}'")
    return target, target.with_suffix(".safetensors"), target.with_suffix(".json")


def _arrays(found: Decomposition) -> dict[str, np.ndarray]:
    """The tensors of a file; firing rates and tests are there where they are known."""
    arrays = {name: np.ascontiguousarray(getattr(found, name)) for name in ARRAYS}
    if found.firing_rate is not None:
        arrays["firing_rate"] = np.ascontiguousarray(found.firing_rate, dtype=np.float64)
    if found.tests is not None:
        table = found.tests.assign(emotion=[found.row(name) for name in found.tests["emotion"]])
        arrays |= {f"tests.{name}": np.ascontiguousarray(table[name]) for name in COLUMNS}
    return arrays


def _tests(numbers: dict[str, np.ndarray], emotions: list[str]) -> pd.DataFrame | None:
    if "tests.emotion" not in numbers:
        return None
    table = pd.DataFrame({name: numbers[f"tests.{name}"] for name in COLUMNS})
    return table.assign(emotion=[emotions[row] for row in table["emotion"]])


def _records(frame: pd.DataFrame) -> dict[str, list[Any]]:
    """Columns as lists, with None for NaN: JSON has no NaN."""
    return {str(name): [None if pd.isna(v) else v for v in frame[name].tolist()] for name in frame.columns}


def _frame(records: dict[str, list[Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(records)
    for name in frame.columns:
        # A column of None alone would come back as object.
        if frame[name].isna().all():
            frame[name] = frame[name].astype(float)
    return frame
