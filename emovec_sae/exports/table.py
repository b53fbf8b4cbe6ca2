"""Decompositions as tidy tables, parquet or csv, with a sidecar that says what each column is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emovec_sae.decomposition.result import Decomposition
from emovec_sae.errors import ConfigError
from emovec_sae.exports.folders import refuse_existing
from emovec_sae.exports.units import COLUMNS
from emovec_sae.provenance import atomic, collect, file_digest, write_json


def export_table(parts: Decomposition, out: str | Path, *, overwrite: bool = False) -> Path:
    """Write the latents of a decomposition as one tidy table, one row a latent of an emotion.

    Beside it stands ``NAME.units.json``: unit and meaning of each column, what the intervals are, and of which model,
    site and SAE this is. Read back with pandas, R or a spreadsheet; `Decomposition.save` is for this package itself.

    Parameters
    ----------
    parts
        What `decompose` found.
    out
        A name that ends in ``.parquet`` or ``.csv``; csv holds every digit, and an empty cell is unknown.
    overwrite
        Whether files of these names may be replaced.

    Returns
    -------
    Path
        The table.

    Raises
    ------
    ConfigError
        If the name ends otherwise, or a file is there and `overwrite` is not set.
    """
    target = Path(out)
    if target.suffix not in (".parquet", ".csv"):
        raise ConfigError(f"a table is written to a name that ends in .parquet or .csv, got '{target.name}'")
    sidecar = target.with_name(f"{target.stem}.units.json")
    if target.suffix == ".parquet":
        _refuse_saved(target)
    for path in (target, sidecar):
        refuse_existing(path, overwrite=overwrite)
    frame = parts.frame()
    with atomic(target) as part:
        if target.suffix == ".csv":
            frame.to_csv(part, index=False)
        else:
            frame.to_parquet(part, index=False)
        sha256 = file_digest(part)
    write_json(sidecar, {"table": target.name, "sha256": sha256, **_about(parts)})
    return target


def _refuse_saved(target: Path) -> None:
    """A decomposition that was saved there would lose its first file, and with it the other two their sense."""
    if target.with_suffix(".safetensors").exists():
        raise ConfigError(f"'{target}' belongs to a saved decomposition; give the table another name")


def _about(parts: Decomposition) -> dict[str, Any]:
    described = {name: COLUMNS.get(name, ("", "")) for name in parts.ranks.columns}
    return {
        "rows": "one a latent of an emotion, by rank",
        "columns": {name: {"unit": unit, "meaning": meaning} for name, (unit, meaning) in described.items()},
        "interval": parts.interval,
        "method": parts.method,
        "k": parts.k,
        "emotions": list(parts.emotions),
        "site": str(parts.site),
        "model": dict(parts.model),
        "sae": {"name": parts.sae, "fingerprint": parts.sae_fingerprint, "unfit": parts.unfit},
        "provenance": collect(of=dict(parts.provenance)),
    }
