"""The score card inside the page of a run: its headline numbers, each beside what its null or chance gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from emovec_sae.report import embed
from emovec_sae.report.card import cell
from emovec_sae.report.run import read_figure
from emovec_sae.studies.bench.card import load_card

FIGURE, FAMILY = "card", "score_card"
"""Name of the card's own figure in the figures of its folder, and its family of charts."""


def find_card(run: Path, asked: Path | None) -> Path | None:
    """Return the folder of the card that is asked for, or of the run's own; None where it has none."""
    if asked is not None:
        return asked.parent if asked.name == "card.json" else asked
    return run if (run / "card.json").is_file() else None


def card_section(folder: Path, model: str, *, first: int) -> dict[str, Any]:
    """Return what the section shows.

    Parameters
    ----------
    folder
        Folder of a finished score card.
    model
        The run's model, as the page writes it.
    first
        Number of the card's figure on the page.

    Raises
    ------
    StoreError
        If there is no card, or it cannot be read.
    """
    card = load_card(folder)
    heads = card.table[card.table["headline"].astype(bool)]
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in heads.to_dict("records"):
        groups.setdefault(str(row["title"]), []).append({"number": row["number"], **cell(row)})
    name = str(card.model.get("name"))
    drawn = (folder / "figures" / f"{FIGURE}.caption.md").is_file()
    return {
        "model": name,
        "other_model": not model.startswith(name),
        "groups": groups,
        "left_out": list(card.left_out.items()),
        "figures": [_figure(folder, first)] if drawn else [],
        "csv": embed.table_uri(card.frame()),
        "count": len(card.table),
    }


def _figure(folder: Path, number: int) -> embed.Embedded:
    """The card's own figure; its table does not lie in the run."""
    found = embed.figure(read_figure(folder / "figures", FIGURE), number, family=FAMILY)
    return replace(found, table=str(folder / "figures" / FIGURE))
