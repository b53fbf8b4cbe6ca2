"""Save a figure with all that belongs to it: three formats, the plotted table, its provenance, caption and spec."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
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

_SIDE = re.compile(r'\b(width|height)="([\d.]+)"')
_DRAWN_ID = re.compile(r'(?P<before>id="|url\(#)(?P<kind>gradient_|clip)(?P<number>\d+)(?P<after>"|\))')

META = "emovec"
"""Where a chart carries how it was drawn, in the ``usermeta`` of its specification."""

PNG_PPI = 240
"""Pixels of the PNG per inch; a pixel of a chart is a 96th of an inch, in the PDF too."""


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
        JSON-serialisable facts of the run (see `emovec_sae.provenance.collect`). Family, options and width of a chart
        from `emovec_sae.charts.draw` are added, so that `emovec_sae.charts.redraw` can draw the table again.
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
        "drawing": drawing(chart),
        "table": {"rows": len(table), "columns": [str(column) for column in table.columns]},
        "files": {path.name: file_digest(path) for path in paths},
        "drawn_with": {"altair": alt.__version__, "vl-convert-python": version("vl-convert-python")},
    }
    paths.append(write_json(target / f"{name}.provenance.json", record))
    return paths


def _writers(chart: alt.TopLevelMixin, table: pd.DataFrame, caption: str) -> dict[str, Callable[[Path], object]]:
    import vl_convert

    svg = _svg(chart)
    return {
        "svg": lambda part: part.write_text(svg, encoding="utf-8"),
        "pdf": lambda part: part.write_bytes(vl_convert.svg_to_pdf(_in_points(svg))),
        "png": lambda part: part.write_bytes(vl_convert.svg_to_png(svg, scale=72 / 96, ppi=PNG_PPI)),
        "parquet": lambda part: table.to_parquet(part, index=False),
        "csv": lambda part: table.to_csv(part, index=False, lineterminator="\n"),
        "caption.md": lambda part: part.write_text(caption.strip() + "\n", encoding="utf-8"),
        "vl.json": lambda part: _write_spec(chart, part),
    }


@contextmanager
def _own_settings() -> Generator[None]:
    """The caller's own theme and row limit must not change a saved figure."""
    with alt.theme.enable(theme.NAME), alt.data_transformers.enable("default", max_rows=None):
        yield


def _svg(chart: alt.TopLevelMixin) -> str:
    """The picture, laid out once: PDF and PNG are made of it."""
    with _own_settings():
        page = io.StringIO()
        chart.save(page, format="svg")
    return _renumbered(page.getvalue())


def _in_points(svg: str) -> str:
    """The picture with its size in points: the converter takes a pixel for a point, a third too large."""
    head, rest = svg.split(">", 1)
    shrunk = _SIDE.sub(lambda found: f'{found[1]}="{0.75 * float(found[2]):g}"', head)
    return f"{shrunk}>{rest}"


def specification(chart: alt.TopLevelMixin) -> dict[str, Any]:
    """The chart as Vega-Lite, independent of the theme and the row limit that the caller has set."""
    with _own_settings():
        return chart.to_dict()


def _write_spec(chart: alt.TopLevelMixin, part: Path) -> None:
    text = json.dumps(specification(chart), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    part.write_text(text + "\n", encoding="utf-8")


def drawing(chart: alt.TopLevelMixin) -> dict[str, Any] | None:
    """Family, options and width of a chart that `emovec_sae.charts.draw` made; None of another."""
    found = getattr(chart, "usermeta", alt.Undefined)
    return dict(found[META]) if isinstance(found, dict) and META in found else None


def _renumbered(svg: str) -> str:
    """Count the ids of gradients and clips from 0: the renderer counts on from picture to picture in a process."""
    numbers: dict[str, int] = {}
    for name in re.findall(r'id="((?:gradient_|clip)\d+)"', svg):
        numbers.setdefault(name, len(numbers))
    return _DRAWN_ID.sub(
        lambda found: f"{found['before']}{found['kind']}{numbers[found['kind'] + found['number']]}{found['after']}", svg
    )
