"""Save a figure with all that belongs to it: three formats, the plotted table, its provenance, caption and spec."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd

from emovec_sae.charts import theme
from emovec_sae.errors import ConfigError
from emovec_sae.provenance import atomic, file_digest, write_json

SUFFIXES = ("svg", "pdf", "png", "parquet", "csv", "caption.md", "vl.json", "provenance.json")
"""Endings of the files of one figure, in the order in which they are written; the provenance comes last."""

PNG_SCALE = 2.5
"""Pixels of the PNG per pixel of the chart: 240 per inch at the widths of `theme`."""


def save_chart(
    chart: alt.TopLevelMixin,
    folder: str | Path,
    name: str,
    *,
    table: pd.DataFrame,
    provenance: Mapping[str, Any],
    caption: str,
) -> list[Path]:
    """Write ``NAME.svg .pdf .png .parquet .csv .caption.md .vl.json .provenance.json`` into `folder`.

    Each file is written whole or not at all and replaces its predecessor; the provenance, which holds the hashes of the
    others, is written last, so that a folder with it is complete. The same chart gives the same SVG byte for byte.

    Parameters
    ----------
    chart
        Any altair chart.
    folder
        Made if it is missing.
    name
        Stem of the files: letters, digits, ``_`` and ``-``.
    table
        The table that is plotted.
    provenance
        JSON-serialisable facts of the run (see `emovec_sae.provenance.collect`).
    caption
        Plain text, written as it is.

    Returns
    -------
    list of Path
        The files, in the order of `SUFFIXES`.

    Raises
    ------
    ConfigError
        If `name` cannot be the stem of a file.
    """
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name) is None:
        raise ConfigError(f"a figure cannot be called '{name}'; use letters, digits, '_' and '-'")
    target = Path(folder)
    paths: list[Path] = []
    for suffix, write in _writers(chart, table, caption).items():
        path = target / f"{name}.{suffix}"
        with atomic(path) as part:
            write(part)
        paths.append(path)
    record = {
        **provenance,
        "figure": name,
        "table": {"rows": len(table), "columns": [str(column) for column in table.columns]},
        "files": {path.name: file_digest(path) for path in paths},
        "drawn_with": {"altair": alt.__version__, "vl-convert-python": version("vl-convert-python")},
    }
    paths.append(write_json(target / f"{name}.provenance.json", record))
    return paths


def _writers(chart: alt.TopLevelMixin, table: pd.DataFrame, caption: str) -> dict[str, Callable[[Path], object]]:
    def draw(kind: str) -> Callable[[Path], object]:
        def write(part: Path) -> None:
            # The caller's own theme and row limit must not change a saved figure.
            with alt.theme.enable(theme.NAME), alt.data_transformers.enable("default", max_rows=None):
                chart.save(str(part), format=kind, scale_factor=PNG_SCALE if kind == "png" else 1)

        return write

    def vector(part: Path) -> None:
        draw("svg")(part)
        part.write_text(_renumbered(part.read_text(encoding="utf-8")), encoding="utf-8")

    def spec(part: Path) -> None:
        with alt.theme.enable(theme.NAME), alt.data_transformers.enable("default", max_rows=None):
            text = json.dumps(chart.to_dict(), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        part.write_text(text + "\n", encoding="utf-8")

    return {
        "svg": vector,
        "pdf": draw("pdf"),
        "png": draw("png"),
        "parquet": lambda part: table.to_parquet(part, index=False),
        "csv": lambda part: table.to_csv(part, index=False, lineterminator="\n"),
        "caption.md": lambda part: part.write_text(caption.strip() + "\n", encoding="utf-8"),
        "vl.json": spec,
    }


def _renumbered(svg: str) -> str:
    """Count the ids of gradients and clips from 0: the renderer counts on from picture to picture in a process."""
    numbers: dict[str, int] = {}

    def again(match: re.Match[str]) -> str:
        name = match["name"]
        kind = name.rstrip("0123456789")
        number = numbers.setdefault(name, sum(other.rstrip("0123456789") == kind for other in numbers))
        return f"{match['before']}{kind}{number}{match['after']}"

    return re.sub(r'(?P<before>id="|url\(#)(?P<name>(?:gradient_|clip)\d+)(?P<after>"|\))', again, svg)
