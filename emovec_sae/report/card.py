"""The page of one score card, or of several side by side: one HTML file, no script and no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from emovec_sae.errors import ConfigError
from emovec_sae.provenance import atomic
from emovec_sae.report import embed, words
from emovec_sae.studies.bench.card import ScoreCard

MOST = 4
"""Cards that still fit side by side."""


def write_card(cards: Sequence[ScoreCard], *, out: str | Path, figures: Sequence[Path] = ()) -> Path:
    """Write the page of score cards.

    Parameters
    ----------
    cards
        One card, or up to four of different models; numbers of one name stand in one row.
    out
        The file to write; it is replaced whole.
    figures
        SVG files to show below the numbers; the caption is the ``.caption.md`` beside each.

    Raises
    ------
    ConfigError
        If there is no card, or there are too many.
    """
    if not 1 <= len(cards) <= MOST:
        raise ConfigError(f"{len(cards)} score cards; from 1 to {MOST} fit on a page")
    loader = PackageLoader("emovec_sae.report")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= words.FILTERS
    style = Markup(loader.get_source(environment, "style.css")[0])  # noqa: S704
    names = [str(card.model.get("name")) for card in cards]
    page = environment.get_template("card.html").render(
        style=style,
        title=f"Score card: {' and '.join(names)}",
        names=names,
        groups=_groups(cards),
        variants=_variants(cards),
        left_out=[(name, dict(card.left_out)) for name, card in zip(names, cards, strict=True)],
        figures=[_figure(path) for path in figures],
        facts=[
            (name, words.flatten({**card.settings, **card.provenance})) for name, card in zip(names, cards, strict=True)
        ],
    )
    target = Path(out)
    with atomic(target) as part:
        part.write_bytes(page.encode())
    return target


def _groups(cards: Sequence[ScoreCard]) -> dict[str, list[dict[str, Any]]]:
    """Title of a check -> rows: the number's name, its note, and one cell a card (None where a card lacks it)."""
    groups: dict[str, dict[str, dict[str, Any]]] = {}
    for place, card in enumerate(cards):
        for row in card.table.to_dict("records"):
            rows = groups.setdefault(str(row["title"]), {})
            found = rows.setdefault(str(row["number"]), {"number": row["number"], "cells": [None] * len(cards)})
            found["cells"][place] = cell(row)
    return {title: list(rows.values()) for title, rows in groups.items()}


def _variants(cards: Sequence[ScoreCard]) -> list[dict[str, Any]]:
    """One row a (check, variant, number) with a cell a card."""
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for place, card in enumerate(cards):
        for row in card.variants.to_dict("records"):
            key = (str(row["check"]), str(row["variant"]), str(row["number"]))
            told = {"check": key[0], "variant": key[1], "number": key[2], "cells": [None] * len(cards)}
            rows.setdefault(key, told)["cells"][place] = cell(row)
    return list(rows.values())


def cell(row: dict[Any, Any]) -> dict[str, Any]:
    """A number as the page writes it, and how it was made."""
    how = [row.get(key) for key in ("site", "estimator", "readout", "position", "note")]
    return {
        "value": words.number(row["value"]),
        "interval": words.interval(_Ends(row["low"], row["high"])),
        "n": words.count(None if row["n"] is None else int(row["n"])),
        "null": words.number(row["null"]),
        "p": words.number(row["p"]),
        "how": "; ".join(str(one) for one in how if isinstance(one, str) and one),
    }


class _Ends:
    """Ends of an interval, None where there is none."""

    def __init__(self, low: float | None, high: float | None) -> None:
        self.low = None if low is None or low != low else low
        self.high = None if high is None or high != high else high


def _figure(path: Path) -> dict[str, str]:
    caption = path.with_suffix(".caption.md")
    text = caption.read_text(encoding="utf-8").strip() if caption.is_file() else ""
    return {"image": embed.uri("image/svg+xml", path.read_bytes()), "name": path.stem, "caption": text}
