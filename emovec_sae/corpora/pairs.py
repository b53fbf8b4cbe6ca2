"""Minimal pairs for activation patching: two texts that differ in a word, after which a feeling word is due."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from emovec_sae.corpora.emotions import DATA
from emovec_sae.corpora.readers import read_table
from emovec_sae.errors import CorpusError

TEXTS = ("source", "target", "source_answer", "target_answer")
LABELS = ("family", "source_emotion", "target_emotion", "emotion")
PAIR_COLUMNS = (
    "id",
    "family",
    "source",
    "target",
    "source_emotion",
    "target_emotion",
    "source_answer",
    "target_answer",
    "emotion",
)
"""Columns of a frame of pairs."""


def load_pairs(name_or_path: str | Path = "pairs") -> pd.DataFrame:
    """Load pairs of texts for patching.

    Parameters
    ----------
    name_or_path
        ``"pairs"`` for the 160 packaged ones, or a ``.jsonl``, ``.csv`` or ``.parquet`` file with the columns `source`,
        `target`, `source_answer`, `target_answer`, and optionally the others.

    Returns
    -------
    pandas.DataFrame
        `id`, `family`, `source`, `target`, `source_emotion`, `target_emotion`, `source_answer`, `target_answer`,
        `emotion` (whose direction is patched, where it is not the source's; missing in the packaged ones); one row a
        pair. Answers keep their leading space, which is part of the token.

    Raises
    ------
    CorpusError
        If the file cannot be read, a value is blank, or the two texts or the two answers of a pair are the same.
    """
    path = DATA / "pairs.jsonl" if str(name_or_path) == "pairs" else Path(name_or_path)
    table = read_table(path)
    table.require(TEXTS)
    data: dict[str, Sequence[str | None]] = {"id": table.identifiers()}
    data |= {column: table.texts(column) for column in TEXTS}
    data |= {column: table.labels(column) if column in table.columns else [None] * len(table.rows) for column in LABELS}
    for one, other in (("source", "target"), ("source_answer", "target_answer")):
        for row, (left, right) in enumerate(zip(data[one], data[other], strict=True)):
            if left == right:
                raise CorpusError(f"{table.at(row)}: '{one}' and '{other}' are the same, so there is nothing to patch")
    return pd.DataFrame({column: pd.array(data[column], dtype="str") for column in PAIR_COLUMNS})
