"""Cells of generation: the texts of one condition, each kept in a file of its own, so that a killed run goes on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from emovec_sae.errors import StoreError
from emovec_sae.interventions.comparison.cells import Cells
from emovec_sae.interventions.comparison.conditions import Condition
from emovec_sae.provenance import atomic, digest


class TextCells:
    """A folder of texts that were generated and read with the same settings.

    Parameters
    ----------
    folder
        Made if it is missing.
    settings
        Whatever decides a text or its numbers besides its condition; JSON-serialisable.

    Raises
    ------
    ConfigError
        If the folder holds cells of other settings; what differs is named.
    """

    def __init__(self, folder: str | Path, settings: Mapping[str, Any]) -> None:
        self._cells = Cells(folder, settings)

    def path(self, condition: Condition) -> Path:
        """File of a condition; the same arm at another dose, or pointing elsewhere, has another."""
        edit = "" if condition.arm is None else self._cells.path(condition.arm, condition.level or 0.0).stem
        key = digest([condition.written(), edit])[:16]
        dose = "" if condition.level is None else f".{condition.level:g}"
        words = f"{condition.emotion or 'all'}.{condition.name}{dose}".replace(" ", "_").replace(",", "")
        return self._cells.folder / f"{words.replace('/', '_')}.{key}.parquet"

    def get(self, condition: Condition) -> pd.DataFrame | None:
        """The texts, or None if they were not written.

        Raises
        ------
        StoreError
            If the file is not what was written.
        """
        path = self.path(condition)
        if not path.is_file():
            return None
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError) as error:  # pyarrow's errors are children of these
            raise StoreError(f"the cell {path} cannot be read; delete it, and it is run again") from error

    def put(self, condition: Condition, texts: pd.DataFrame) -> None:
        """Write a cell, whole or not at all."""
        with atomic(self.path(condition)) as part:
            texts.to_parquet(part, index=False)
