"""The page of a run: one HTML file that needs nothing else, no script and no network."""

from __future__ import annotations

import base64
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from emovec_sae.charts import FAMILIES
from emovec_sae.errors import StoreError
from emovec_sae.provenance import atomic
from emovec_sae.report.run import Figure, Generation, Latent, Passage, Run, Score, read_run

MOST_BYTES = 10_000_000
"""Largest page that is written; beyond it browsers on phones give up."""

MOST_SVG, MOST_CSV = 1_000_000, 1_500_000
"""Bytes above which a figure is embedded as PNG, and a table is named instead of embedded."""

ALWAYS_OPEN = 3
"""Passages of a latent that show at once; the others open on demand."""

_HEADINGS = {
    "vector_map": "Where the emotion vectors lie",
    "similarity": "Which emotions are alike",
    "site_sweep": "Where in the model the emotion can be read",
    "composition": "What an emotion vector is made of",
    "latents_by_emotion": "Which latents serve which emotions",
    "dose_curves": "Do the latents do what the vector does?",
    "patching": "Where the feeling is carried through the text",
}


def write_report(run: str | Path, *, out: str | Path | None = None) -> Path:
    """Write the page of a run.

    Parameters
    ----------
    run
        Folder with ``results.json``, ``latents.json``, ``generations.json`` and ``figures/``.
    out
        The file to write; ``report.html`` in `run` when left out. It is replaced whole.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    StoreError
        If a piece of the run is missing or misshapen, or the page would exceed `MOST_BYTES`.
    """
    text = render(read_run(run)).encode()
    if len(text) > MOST_BYTES:
        raise StoreError(
            f"the page of '{run}' would be {len(text) / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:.0f} MB; "
            "draw fewer emotions or keep fewer passages and generations in the study"
        )
    target = Path(out) if out is not None else Path(run) / "report.html"
    with atomic(target) as part:
        part.write_bytes(text)
    return target


def render(run: Run) -> str:
    """Return the HTML of a run that was read with `read_run`."""
    environment = Environment(
        loader=PackageLoader("emovec_sae.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "count": count, "percent": percent, "visible": visible, "slug": slug}
    style = environment.loader.get_source(environment, "style.css")[0] if environment.loader else ""
    return environment.get_template("page.html").render(
        results=run.results,
        # The style sheet is the package's own; a quote in it must reach the browser as it is.
        style=Markup(style),  # noqa: S704
        groups=_by(run.results.scores, lambda score: score.group),
        figures=[_embed(figure, index) for index, figure in enumerate(run.figures, 1)],
        latents=run.latents,
        shaded={latent.latent: [_shade(passage) for passage in latent.passages] for latent in run.latents},
        always_open=ALWAYS_OPEN,
        generations=_side_by_side(run.generations),
        facts=flatten(run.results.provenance),
    )


# ---- figures and tables


@dataclass(frozen=True)
class Embedded:
    """A figure ready for the page; `data` is empty where the table is too large to carry along."""

    name: str
    number: int
    heading: str
    image: str
    svg: str
    data: str
    table: str
    alt: str
    caption: list[str]
    width: int


def _embed(figure: Figure, number: int) -> Embedded:
    svg, table = figure.svg.read_bytes(), figure.csv.read_bytes()
    drawn = _data("image/svg+xml", svg) if len(svg) <= MOST_SVG else ""
    paragraphs = [part.strip() for part in figure.caption.split("\n\n") if part.strip()]
    width = re.search(rb'<svg[^>]*?\bwidth="(\d+)', svg)
    return Embedded(
        name=figure.name,
        number=number,
        heading=_HEADINGS[figure.name],
        # An image cannot run what an SVG may hold, and its ids cannot meet those of another figure.
        image=drawn or _data("image/png", figure.png.read_bytes()),
        svg=drawn,
        data=_data("text/csv;charset=utf-8", table) if len(table) <= MOST_CSV else "",
        table=f"figures/{figure.csv.name}",
        alt=f"Figure {number}: {FAMILIES[figure.name]}. {paragraphs[0] if paragraphs else ''}".strip(),
        caption=paragraphs,
        width=int(width[1]) if width else 692,
    )


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


# ---- text


@dataclass(frozen=True)
class Shaded:
    """A run of text in a passage: `strength` is 0 to 1 of the passage's maximum, `title` the number itself."""

    text: str
    strength: float
    title: str


@dataclass(frozen=True)
class ShadedPassage:
    """A passage with shaded tokens and its strongest one named in words."""

    emotion: str
    id: str
    runs: list[Shaded]
    peak: str


def _shade(passage: Passage) -> ShadedPassage:
    top = max((piece.activation for piece in passage.pieces), default=0.0)
    runs: list[Shaded] = []
    for silent, group in itertools.groupby(passage.pieces, key=lambda piece: not piece.activation > 0):
        pieces = list(group)
        if silent:
            runs.append(Shaded("".join(piece.token for piece in pieces), 0.0, ""))
        else:
            runs += [Shaded(p.token, max(p.activation / top, 0.06), f"activation {p.activation:.2f}") for p in pieces]
    peak = max(passage.pieces, key=lambda piece: piece.activation, default=None)
    words = f"strongest on \u201c{visible(peak.token)}\u201d, {peak.activation:.2f}" if peak and top > 0 else "silent here"
    return ShadedPassage(passage.emotion, passage.id, runs, words)


@dataclass(frozen=True)
class Comparison:
    """Continuations of one prompt for one emotion, an entry an arm."""

    prompt: str
    texts: list[Generation]


def _side_by_side(generations: Sequence[Generation]) -> dict[str, list[Comparison]]:
    return {
        emotion: [Comparison(prompt, texts) for prompt, texts in _by(same, lambda one: one.prompt).items()]
        for emotion, same in _by(generations, lambda one: one.emotion).items()
    }


def _by[Item](items: Iterable[Item], key: Any) -> dict[str, list[Item]]:
    return {}
