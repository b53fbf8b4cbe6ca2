"""Tables of a run: one Parquet file each below ``tables/``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from emovec_sae.provenance import atomic


def write_table(run: Path, name: str, frame: pd.DataFrame) -> Path:
    """Write a table of a run atomically."""
    path = run / "tables" / f"{name}.parquet"
    with atomic(path) as part:
        frame.to_parquet(part, index=False)
    return path


def read_table(run: Path, name: str) -> pd.DataFrame:
    """Read a table of a run."""
    return pd.read_parquet(run / "tables" / f"{name}.parquet")
