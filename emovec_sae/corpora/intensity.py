"""Numeric intensity: templates whose number alone changes what is meant, one text a value."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from emovec_sae.corpora.emotions import DATA
from emovec_sae.corpora.frame import Corpus, from_table
from emovec_sae.corpora.readers import read_table
from emovec_sae.corpora.table import Table
from emovec_sae.errors import CorpusError

PLACE = "{x}"
"""Where the number goes."""
TRENDS = ("up", "down")


def load_intensity(name_or_path: str | Path = "intensity") -> Corpus:
    """Fill every template with each of its values.

    Parameters
    ----------
    name_or_path
        ``"intensity"`` for the 16 packaged templates, or a ``.jsonl`` or ``.parquet`` file with the columns `id`,
        `template` (a text with ``{x}``), `values` (numbers, rising or falling), `expected` (emotion -> up or down) and
        optionally `unit`.

    Returns
    -------
    Corpus
        One text a value; `group` and `template` are the template's id, `step` counts its values from 1, `value` is the
        number, `expected` the trends as JSON.

    Raises
    ------
    CorpusError
        If a template lacks ``{x}``, has fewer than three values, or expects something else than up or down.
    """
    path = DATA / "intensity.jsonl" if str(name_or_path) == "intensity" else Path(name_or_path)
    table = read_table(path)
    table.require(["id", "template", "values", "expected"])
    names, templates = table.identifiers(), table.texts("template")
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    for row, (name, template) in enumerate(zip(names, templates, strict=True)):
        if PLACE not in template:
            raise CorpusError(f"{table.at(row, 'template')} has no {PLACE}; the number's place must be marked so")
        expected = json.dumps(_expected(table, row), ensure_ascii=False, sort_keys=True)
        for step, value in enumerate(_values(table, row), start=1):
            text = template.replace(PLACE, str(value))
            rows.append({"id": f"{name}.{step}", "text": text, "group": name, "template": name, "step": step,
                         "value": float(value), "unit": table.rows[row].get("unit"), "expected": expected})  # fmt: skip
            lines.append(table.lines[row])
    columns = ("id", "text", "group", "template", "step", "value", "unit", "expected")
    return from_table(Table(table.source, columns, rows, lines, table.unit), name=path.stem, path=path)


def _values(table: Table, row: int) -> list[int | float]:
    values = table.rows[row].get("values")
    if not isinstance(values, list) or len(values) < 3:
        raise CorpusError(f"{table.at(row, 'values')} is {values!r}; a list of at least three numbers is wanted")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise CorpusError(f"{table.at(row, 'values')} holds {value!r}; numbers are wanted")
    steps = [later - value for value, later in pairwise(values)]
    if not (all(step > 0 for step in steps) or all(step < 0 for step in steps)):
        raise CorpusError(f"{table.at(row, 'values')} neither rise nor fall throughout: {values}")
    return sorted(values)


def _expected(table: Table, row: int) -> dict[str, str]:
    expected = table.rows[row].get("expected")
    if not isinstance(expected, dict) or not expected:
        raise CorpusError(f"{table.at(row, 'expected')} is {expected!r}; emotions with up or down are wanted")
    for emotion, trend in expected.items():
        if trend not in TRENDS:
            raise CorpusError(f"{table.at(row, 'expected')}: {emotion} is '{trend}'; it should be up or down")
    return expected
