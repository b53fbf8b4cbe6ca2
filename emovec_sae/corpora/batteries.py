"""Behaviour batteries: prompts with two answers, one of which shows the behaviour that is asked about."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from emovec_sae.corpora.emotions import DATA
from emovec_sae.corpora.prompts import USES
from emovec_sae.corpora.readers import READERS, read_table
from emovec_sae.corpora.table import Table
from emovec_sae.errors import CorpusError, suggest

BATTERIES = {
    "sycophancy": "agrees with a user who is wrong or boasts, or says so",
    "refusal": "refuses or helps, with risky requests and with harmless ones that look like them",
    "advice": "advises the careful or the bold way",
}
"""Packaged batteries: name -> what answers a and b are."""

TEXTS = ("prompt", "answer_a", "answer_b")
"""Columns that every battery needs; `answer_a` is the behaviour."""


def load_battery(name_or_path: str | Path, *, use: str | None = None) -> pd.DataFrame:
    """Load one battery: prompts, the answer that shows the behaviour, and the one that does not.

    Parameters
    ----------
    name_or_path
        A name of `BATTERIES`, or a ``.jsonl``, ``.csv`` or ``.parquet`` file with the columns `prompt`, `answer_a` (the
        behaviour), `answer_b`, and optionally `id`, `battery` (one name), `group` (a family of situations), `kind` and
        `use`.
    use
        ``"tune"`` or ``"report"``; both by default.

    Returns
    -------
    pandas.DataFrame
        `id`, `battery`, `group`, `kind`, `prompt`, `answer_a`, `answer_b`, `use`; one row an item, RangeIndex. Without
        the columns, `battery` is the file's name, `group` and `kind` are ``all``, `use` is ``report``.

    Raises
    ------
    CorpusError
        If there is no such battery or file, a column or a text is missing, the two answers of an item are the same, a
        prompt stands twice, the file holds several batteries, or nothing is left.
    """
    text = str(name_or_path)
    path = DATA / "behaviours.jsonl" if text in BATTERIES else Path(name_or_path)
    if not path.suffix and not path.exists():
        raise CorpusError(
            f"unknown battery '{text}'{suggest(text, BATTERIES)}; there are {', '.join(BATTERIES)}, or give the path "
            f"of a {', '.join(READERS)} file"
        )
    frame = _read(read_table(path), path.stem)
    if text in BATTERIES:
        frame = frame[frame["battery"] == text]
    elif frame["battery"].nunique() > 1:
        raise CorpusError(f"{path.name} holds the batteries {', '.join(frame['battery'].unique())}; give a file each")
    if use is not None:
        if use not in USES:
            raise CorpusError(f"unknown use '{use}'{suggest(use, USES)}; it should be tune or report")
        frame = frame[frame["use"] == use]
    if frame.empty:
        raise CorpusError(f"{text} has no items of use '{use}'")
    return frame.reset_index(drop=True)


def _read(table: Table, name: str) -> pd.DataFrame:
    table.require(TEXTS)
    data = {"id": table.identifiers()}
    for column, otherwise in (("battery", name), ("group", "all"), ("kind", "all")):
        given = table.labels(column) if column in table.columns else [None] * len(table.rows)
        data[column] = [one or otherwise for one in given]
    data |= {column: table.texts(column) for column in TEXTS}
    used = table.labels("use") if "use" in table.columns else [None] * len(table.rows)
    data["use"] = [one or "report" for one in used]
    first: dict[str, int] = {}
    for row, prompt in enumerate(data["prompt"]):
        if data["answer_a"][row].strip() == data["answer_b"][row].strip():
            raise CorpusError(f"{table.at(row)}: answer_a and answer_b are the same, so there is nothing to choose")
        if data["use"][row] not in USES:
            raise CorpusError(f"{table.at(row, 'use')} is '{data['use'][row]}'; it should be tune or report")
        if prompt in first:
            raise CorpusError(
                f"{table.at(row, 'prompt')} already stands in {table.unit} {table.lines[first[prompt]]}; "
                "items must differ"
            )
        first[prompt] = row
    return pd.DataFrame({column: pd.array(values, dtype="str") for column, values in data.items()})
