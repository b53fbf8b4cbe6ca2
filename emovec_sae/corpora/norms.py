"""Ratings of the 171 emotions on valence and arousal."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from emovec_sae.corpora.emotions import DATA
from emovec_sae.corpora.readers import read_table
from emovec_sae.corpora.table import Table
from emovec_sae.errors import CorpusError


def load_norms(path: str | Path | None = None) -> pd.DataFrame:
    """Read ratings of emotions: the packaged ones of the 171, or a file of one's own.

    Parameters
    ----------
    path
        A ``.csv``, ``.jsonl`` or ``.parquet`` file with the columns `emotion`, `valence` and `arousal`, 1 to 9; None
        reads the packaged ones.

    Returns
    -------
    pandas.DataFrame
        `emotion`, `valence` (1 unpleasant to 9 pleasant), `arousal` (1 calm to 9 excited); one model rater, which
        agrees with human norms at r = 0.97 on valence and 0.74 on arousal (``data/README.md``).

    Raises
    ------
    CorpusError
        If the file cannot be read, lacks a column, or a rating is no number from 1 to 9.
    """
    if path is not None:
        return _given(read_table(path))
    return pd.read_csv(DATA / "norms.csv", dtype={"emotion": "str", "valence": float, "arousal": float})


def _given(table: Table) -> pd.DataFrame:
    table.require(["emotion", "valence", "arousal"])
    found: dict[str, list[object]] = {"emotion": list(table.texts("emotion"))}
    for column in ("valence", "arousal"):
        found[column] = [_rating(table, row, column) for row in range(len(table.rows))]
    return pd.DataFrame(found)


def _rating(table: Table, row: int, column: str) -> float:
    """A rating from 1 to 9."""
    value = table.rows[row].get(column)
    try:
        rating = float(str(value))
    except ValueError:
        rating = float("nan")
    if not 1 <= rating <= 9:
        raise CorpusError(f"{table.at(row, column)} is {value!r}; a rating from 1 to 9 is wanted")
    return rating
