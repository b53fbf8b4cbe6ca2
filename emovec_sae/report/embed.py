"""Figures and tables as data URIs, so that the page carries them with it."""

from __future__ import annotations

import base64
import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel

from emovec_sae.charts import FAMILIES
from emovec_sae.report.live import Live, live
from emovec_sae.report.run import Figure

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

MOST_SVG, MOST_CSV = 1_000_000, 1_500_000
"""Bytes above which a figure is embedded as PNG, and a table is named instead of embedded."""

HEADINGS = {
    "vector_map": "Where the emotion vectors lie",
    "similarity": "Which emotions are alike",
    "site_sweep": "Where in the model an emotion can be read",
    "composition": "What an emotion vector is made of",
    "latents_by_emotion": "Which latents serve which emotions",
    "dose_curves": "Do the latents do what the vector does?",
    "patching": "Where the feeling travels through the text",
}
"""The question that each figure answers."""


@dataclass(frozen=True)
class Embedded:
    """A figure ready for the page.

    Attributes
    ----------
    name, number, heading, caption, alt
        What the page says about it; the caption is a list of paragraphs.
    image
        Data URI of the SVG, or of the PNG where the SVG is too large.
    kind
        ``"svg"`` or ``"png"``: what `image` is.
    width
        Natural width in pixels.
    data
        Data URI of the plotted table, empty where it is too large to carry along.
    table
        Path of the table inside the run folder, without its ending.
    live
        The version that answers the reader.
    """

    name: str
    number: int
    heading: str
    caption: list[str]
    alt: str
    image: str
    kind: str
    width: int
    data: str
    table: str
    live: Live


def figure(files: Figure, number: int, *, family: str | None = None) -> Embedded:
    """Return the figure `number` with its picture and table inside; its family is its name unless it is given.

    The picture becomes an image and not inline SVG: an image runs no script that an SVG may hold, and ids inside it
    cannot meet those of another figure.
    """
    about = FAMILIES.get(family or files.name, files.name.replace("_", " "))
    svg, table = files.svg.read_bytes(), files.csv.read_bytes()
    kind = "svg" if len(svg) <= MOST_SVG else "png"
    width = re.search(rb'<svg[^>]*?\swidth="(\d+)', svg)
    caption = [part.strip() for part in files.caption.split("\n\n") if part.strip()]
    return Embedded(
        name=files.name,
        number=number,
        heading=heading_of(family or files.name),
        caption=caption,
        alt=f"Chart: {about}. The caption below says what it shows; its table can be downloaded.",
        image=uri("image/svg+xml", svg) if kind == "svg" else uri("image/png", files.png.read_bytes()),
        kind=kind,
        width=int(width[1]) if width else 692,
        data=uri("text/csv", table) if len(table) <= MOST_CSV else "",
        table=f"figures/{files.name}",
        live=live(files.parquet, family or files.name),
    )


def heading_of(name: str) -> str:
    """Return the question that a figure of this family answers; a figure of another name says it with its name."""
    about = FAMILIES.get(name, name.replace("_", " "))
    return HEADINGS.get(name, about[:1].upper() + about[1:])


def left_out(run: Path, figures: Sequence[Embedded], stages: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return heading and reason of each figure that the run does not have.

    Parameters
    ----------
    run
        Folder of the run.
    figures
        Those that it has.
    stages
        Stage that was left out -> why, which says more than that its table is missing.
    """
    from emovec_sae.studies import figures as drawing

    found: list[tuple[str, str]] = []
    for name, why in drawing.left_out(run, {one.name for one in figures}).items():
        waits = (run / "tables" / f"{name}.parquet").is_file()
        found.append((heading_of(name), why if waits else stages.get(drawing.FIGURES[name]) or why))
    return found


def shortened(figures: Sequence[Embedded]) -> list[tuple[int, str]]:
    """Return number and reason of each figure that the page does not carry whole."""
    found: list[tuple[int, str]] = []
    for one in figures:
        if one.kind == "png":
            found.append((one.number, f"is embedded as PNG: its SVG is larger than {MOST_SVG / 1e6:g} MB"))
        if not one.data:
            found.append((one.number, f"comes without its table, which is larger than {MOST_CSV / 1e6:g} MB"))
        if not one.live.spec:
            found.append((one.number, f"is a picture only: {one.live.why}"))
    return found


def rows_uri(rows: Sequence[BaseModel]) -> str:
    """Return the rows as a CSV table in a data URI; empty where there are none."""
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(type(rows[0]).model_fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.model_dump() for row in rows)
    return uri("text/csv", text.getvalue().encode())


def table_uri(table: pd.DataFrame) -> str:
    """Return a table as CSV in a data URI; empty where it has no rows."""
    return "" if table.empty else uri("text/csv", table.to_csv(index=False, lineterminator="\n").encode())


def uri(kind: str, content: bytes) -> str:
    """Return a base64 data URI of the media type `kind`."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
