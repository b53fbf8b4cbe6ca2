"""Tables of other people as they come: tabs, commas or bars, with or without quotes, in UTF-8 or Latin-1."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emovec_sae.corpora.readers import READERS, read_table
from emovec_sae.corpora.table import Table
from emovec_sae.errors import CorpusError

SUFFIXES = (".tsv", ".txt")
"""Files of separated values beyond those that `read_table` reads."""


def read_foreign(path: Path, *, header: Sequence[str] | None = None, known: Sequence[str] = ()) -> Table:
    """Read a data set's file: JSONL and Parquet as ever, separated values with whatever separates them.

    Parameters
    ----------
    path
        A ``.jsonl``, ``.parquet``, ``.csv``, ``.tsv`` or ``.txt`` file.
    header
        Names of the columns of a file that begins without a header line.
    known
        Names of columns of which a header line has one, in any case of letters; where the first line has none, it is
        data, and `header` is used.

    Raises
    ------
    CorpusError
        If the file is missing, of another kind, or damaged.
    """
    suffix = path.suffix.lower()
    if suffix not in (*SUFFIXES, ".csv"):
        if suffix not in READERS:
            kinds = ", ".join([*READERS, *SUFFIXES])
            raise CorpusError(f"{path} ends in '{path.suffix}'; a file of texts ends in {kinds}")
        return read_table(path)
    if path.is_dir() or not path.is_file():
        raise CorpusError(f"{path} is a folder; give a file in it" if path.is_dir() else f"there is no file {path}")
    text = _decoded(path.read_bytes())
    first = text.split("\n", 1)[0]
    mark = max("\t|,;", key=first.count) if any(one in first for one in "\t|,;") else ","
    lines, cells = _cells(path, text, mark)
    if not cells:
        return Table(str(path), tuple(header or ()), [], [])
    names = [name.strip() for name in cells[0]]
    if header is not None and not {name.lower() for name in names} & {name.lower() for name in known}:
        names = list(header)
    else:
        lines, cells = lines[1:], cells[1:]
    for line, row in zip(lines, cells, strict=True):
        if len(row) != len(names):
            raise CorpusError(f"{path}, line {line}: {len(row)} cells where {len(names)} are due ({', '.join(names)})")
    rows: list[dict[str, Any]] = [
        {name: cell or None for name, cell in zip(names, row, strict=True) if name} for row in cells
    ]
    return Table(str(path), tuple(name for name in names if name), rows, lines)


def _cells(path: Path, text: str, mark: str) -> tuple[list[int], list[list[str]]]:
    """Rows of cells: one a line where every line has as many as the first, quoted cells over lines otherwise."""
    plain = [(number, line.rstrip("\r")) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if mark in "\t|" and len({line.count(mark) for _, line in plain}) == 1:
        return [number for number, _ in plain], [[_bare(cell) for cell in line.split(mark)] for _, line in plain]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    lines: list[int] = []
    rows: list[list[str]] = []
    begins = 1
    try:
        for cells in reader:
            if cells:
                lines.append(begins)
                rows.append(cells)
            begins = reader.line_num + 1
    except csv.Error as error:
        raise CorpusError(f"{path}, line {begins}: this cannot be read as separated values ({error})") from error
    return lines, rows


def _bare(cell: str) -> str:
    """A cell without the quotes around it."""
    quoted = len(cell) > 1 and cell[0] == cell[-1] == '"' and cell[1:-1].count('"') == 2 * cell[1:-1].count('""')
    return cell[1:-1].replace('""', '"') if quoted else cell


def _decoded(raw: bytes) -> str:
    """UTF-8, or the Latin-1 of Windows, in which older sets were saved."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")
