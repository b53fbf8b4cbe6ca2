"""The page of a run: one HTML file that needs nothing else, no script and no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from emovec_sae.errors import StoreError
from emovec_sae.provenance import atomic
from emovec_sae.report import embed, words
from emovec_sae.report.run import Run, read_run

MOST_BYTES = 10_000_000
"""Largest page that is written; beyond it browsers on phones give up."""

ALWAYS_OPEN = 3
"""Passages of a latent that show at once; the others open on demand."""


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
    content = render(read_run(run)).encode()
    if len(content) > MOST_BYTES:
        raise StoreError(
            f"the page of '{run}' would be {len(content) / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:.0f} MB; "
            "keep fewer passages and generations in the study, or draw fewer emotions"
        )
    target = Path(out) if out is not None else Path(run) / "report.html"
    with atomic(target) as part:
        part.write_bytes(content)
    return target


def render(run: Run) -> str:
    """Return the HTML of a run that was read with `read_run`."""
    loader = PackageLoader("emovec_sae.report")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= words.FILTERS
    # The style sheet is the package's own: its quotes must reach the browser as they are.
    style = Markup(loader.get_source(environment, "style.css")[0])  # noqa: S704
    return environment.get_template("page.html").render(style=style, **_context(run))


def _context(run: Run) -> dict[str, Any]:
    results = run.results
    return {
        "results": results,
        "scores": words.grouped(results.scores, "group"),
        "scores_csv": embed.rows_uri(results.scores),
        "figures": [embed.figure(one, number) for number, one in enumerate(run.figures, 1)],
        "latents": run.latents,
        "by_emotion": words.latents_by_emotion(run.latents),
        "passages": {latent.latent: [words.shade(passage) for passage in latent.passages] for latent in run.latents},
        "always_open": ALWAYS_OPEN,
        "generations": {
            emotion: words.grouped(same, "prompt")
            for emotion, same in words.grouped(run.generations, "emotion").items()
        },
        "generations_csv": embed.rows_uri(run.generations),
        "facts": words.flatten(results.provenance),
    }
