"""Read JSONL, CSV and Parquet files into a `Table`; every error names the file and the line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emovec_sae.corpora.table import Table
from emovec_sae.errors import CorpusError


def read_table(path: str | Path) -> Table:
    """Read a file of rows, by its suffix.

    Parameters
    ----------
    path
        A ``.jsonl``, ``.csv`` or ``.parquet`` file; text files are UTF-8, with or without a byte order mark.

    Raises
    ------
    CorpusError
        If the file is missing, of another kind, or damaged.
    """
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise CorpusError(f"{path} ends in '{path.suffix}'; a file of texts ends in {', '.join(READERS)}")
    if path.is_dir():
        raise CorpusError(f"{path} is a folder; give the path of a file in it")
    if not path.is_file():
        raise CorpusError(f"there is no file {path}")
    return reader(path)


def read_jsonl(path: Path) -> Table:
    """Read one JSON object a line; blank lines are passed over."""
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    for number, line in enumerate(_decode(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise CorpusError(
                f"{path}, line {number}, character {error.colno}: this is no JSON object on one line ({error.msg})"
            ) from error
        if not isinstance(row, dict):
            raise CorpusError(f"{path}, line {number}: a JSON object is needed, this is a {type(row).__name__}")
        rows.append(row)
        lines.append(number)
    columns = dict.fromkeys(name for row in rows for name in row)
    return Table(str(path), tuple(columns), rows, lines)


def read_csv(path: Path) -> Table:
    """Read comma-separated values with a header line; an empty cell is a missing value."""
    reader = csv.reader(io.StringIO(_decode(path), newline=""), strict=True)
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    begins = 1
    try:
        header = [name.strip() for name in next(reader, [])]
        twice = sorted({name for name in header if name and header.count(name) > 1})
        if twice:
            raise CorpusError(f"{path}, line 1: column '{twice[0]}' stands twice")
        begins = reader.line_num + 1
        for cells in reader:
            if cells and len(cells) != len(header):
                raise CorpusError(
                    f"{path}, line {begins}: {len(cells)} cells where the header has {len(header)}; "
                    f'put texts that hold commas or line breaks in "double quotes"'
                )
            if cells:
                # pandas writes its row numbers as a first column without a name: they are no data.
                rows.append({name: cell or None for name, cell in zip(header, cells, strict=True) if name})
                lines.append(begins)
            begins = reader.line_num + 1
    except csv.Error as error:
        raise CorpusError(f"{path}, line {begins}: this cannot be read as CSV ({error})") from error
    return Table(str(path), tuple(name for name in header if name), rows, lines)


def read_parquet(path: Path) -> Table:
    """Read a Parquet table; the row numbers that pandas adds are left out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise CorpusError(f"{path} cannot be read as Parquet: {error}") from error
    columns = tuple(name for name in table.column_names if not name.startswith("__index_level_"))
    rows = table.select(list(columns)).to_pylist()
    return Table(str(path), columns, rows, range(1, len(rows) + 1), unit="row")


READERS: dict[str, Callable[[Path], Table]] = {".jsonl": read_jsonl, ".csv": read_csv, ".parquet": read_parquet}
"""Readers by suffix."""


def _decode(path: Path) -> str:
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise CorpusError(
            f"{path}, line {line}: byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from error
