"""The page of a run: one HTML file that needs nothing else, no network and no script but its own two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from emovec_sae.errors import StoreError
from emovec_sae.provenance import atomic
from emovec_sae.report import embed, evidence, live, samples, words
from emovec_sae.report.bundle import library
from emovec_sae.report.card_section import card_section, find_card
from emovec_sae.report.prose import parts_of
from emovec_sae.report.run import Run, read_run

MOST_BYTES = 10_000_000
"""Largest page that is written; beyond it browsers on phones give up."""

ALWAYS_OPEN = 3
"""Passages of a latent that show at once; the others open on demand."""


def write_report(run: str | Path, *, out: str | Path | None = None, card: str | Path | None = None) -> Path:
    """Write the page of a run.

    Parameters
    ----------
    run
        Folder with ``results.json``, ``latents.json``, ``generations.json`` and ``figures/``.
    out
        The file to write; ``report.html`` in `run` when left out. It is replaced whole.
    card
        Folder (or ``card.json``) of a finished score card to show; the ``card.json`` of the run when left out.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    StoreError
        If a piece of the run or the card is missing or misshapen, or the page would exceed `MOST_BYTES`.
    """
    content = render(read_run(run), card=None if card is None else Path(card)).encode()
    if len(content) > MOST_BYTES:
        raise StoreError(
            f"the page of '{run}' would be {len(content) / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:.0f} MB; "
            "keep fewer passages and generations in the study, or draw fewer emotions"
        )
    target = Path(out) if out is not None else Path(run) / "report.html"
    with atomic(target) as part:
        part.write_bytes(content)
    return target


def render(run: Run, *, card: Path | None = None) -> str:
    """Return the HTML of a run that was read with `read_run`, with the score card at `card`."""
    loader = PackageLoader("emovec_sae.report")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= words.FILTERS
    context = _context(run, card)
    scripts = _scripts(context)
    # Style sheet and scripts are the package's own: their quotes must reach the browser as they are.
    style = Markup(loader.get_source(environment, "style.css")[0])  # noqa: S704
    return environment.get_template("page.html").render(
        style=style,
        scripts=[Markup(script) for script in scripts],  # noqa: S704
        policy=Markup(live.policy(scripts)),  # noqa: S704
        **context,
    )


def _scripts(context: dict[str, Any]) -> list[str]:
    """The scripts that the page runs: none where no figure answers the reader."""
    figures: list[embed.Embedded] = [*context["figures"], *(context["card"] or {}).get("figures", [])]
    return [library(), live.drawer()] if any(one.live.spec for one in figures) else []


def _context(run: Run, card: Path | None) -> dict[str, Any]:
    results = run.results
    place = find_card(run.path, card)
    battery = run.path / "generated.parquet"
    texts = samples.battery(battery) if battery.is_file() else samples.written(run.generations)
    figures = [embed.figure(one, number) for number, one in enumerate(run.figures, 1)]
    section = None if place is None else card_section(place, results.model, first=len(figures) + 1)
    shown = [*figures, *(section or {}).get("figures", [])]
    found = evidence.gather(run.path, card=place)
    return {
        "results": results,
        "arms_verdict": parts_of(run.verdict),
        "card": section,
        "scores": words.grouped(results.scores, "group"),
        "scores_csv": embed.rows_uri(results.scores),
        "figures": figures,
        "left_out": embed.left_out(run.path, figures, {one.name: one.why for one in found.stages}),
        "shortened": embed.shortened(shown),
        "latents": run.latents,
        "by_emotion": words.latents_by_emotion(run.latents),
        "passages": {latent.latent: [words.shade(passage) for passage in latent.passages] for latent in run.latents},
        "always_open": ALWAYS_OPEN,
        "generations": texts,
        "from_battery": battery.is_file(),
        "generations_csv": embed.table_uri(samples.rows(texts)),
        "evidence": found,
        "missed_csv": embed.table_uri(evidence.missed_table(found)),
        "most_missed": evidence.MOST_MISSED,
        "run_path": run.path,
        "facts": words.flatten(results.provenance),
    }
