"""Which texts a view of a store shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from emovec_sae.errors import StoreError, suggest


def chosen(names: str | Iterable[str], column: pd.Series, what: str) -> list[str]:
    """Names of a column, as a list or with commas between.

    Raises
    ------
    StoreError
        If one does not occur.
    """
    wanted = [one.strip() for one in names.split(",")] if isinstance(names, str) else list(names)
    known = list(column.dropna().unique())
    for name in wanted:
        if name not in known:
            there = ", ".join(known[:30]) + (f", ... ({len(known)})" if len(known) > 30 else "")
            raise StoreError(f"unknown {what} '{name}'{suggest(name, known)}; recorded: {there or 'none'}")
    return wanted


def picked_rows(rows: np.ndarray | Sequence[int] | Sequence[bool] | pd.Series, count: int) -> np.ndarray:
    """Row numbers, each once: a view has one place for a recorded text."""
    if pd.api.types.is_bool_dtype(getattr(rows, "dtype", object)) or (
        len(rows) and all(isinstance(one, bool | np.bool_) for one in rows)
    ):
        if len(rows) != count:
            raise StoreError(f"a mask of {len(rows)} booleans was given for {count} texts; give one a text")
        return np.flatnonzero(np.asarray(rows, dtype=bool))
    picked = np.asarray(rows, dtype=np.int64)
    if len(picked) and (picked.min() < -count or picked.max() >= count):
        raise StoreError(f"row {int(picked[np.argmax(np.abs(picked))])} does not exist: there are {count} texts")
    picked = picked % max(count, 1)
    if len(np.unique(picked)) != len(picked):
        raise StoreError("a row is named twice; a view shows each text once (repeat the rows of pooled values instead)")
    return picked
