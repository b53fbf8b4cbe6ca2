"""How the page writes numbers, tokens and passages."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from emovec_sae.report.run import Latent, Passage, Score

Item = TypeVar("Item")

FAINTEST = 0.08
"""Strength at which the weakest active token is still seen."""


_RAISED = str.maketrans("-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")


@dataclass(frozen=True)
class Stretch:
    """Some text of a passage: `strength` is its activation over the passage's largest, `title` names the number."""

    text: str
    strength: float
    title: str


@dataclass(frozen=True)
class ShadedPassage:
    """A passage as stretches of text, with the token on which the latent fires most named in `peak`."""

    emotion: str
    id: str
    stretches: list[Stretch]
    peak: str


def shade(passage: Passage) -> ShadedPassage:
    """Return the passage with one stretch for each active token; silent neighbours are joined."""
    top = max((piece.activation for piece in passage.pieces), default=0.0)
    stretches: list[Stretch] = []
    for active, group in itertools.groupby(passage.pieces, key=lambda piece: piece.activation > 0):
        if active:
            stretches += [
                Stretch(piece.token, max(piece.activation / top, FAINTEST), f"activation {piece.activation:.2f}")
                for piece in group
            ]
        else:
            stretches.append(Stretch("".join(piece.token for piece in group), 0.0, ""))
    if not top > 0:
        return ShadedPassage(passage.emotion, passage.id, stretches, "silent in this passage")
    peak = max(passage.pieces, key=lambda piece: piece.activation)
    said = f"strongest on \u2018{visible(peak.token)}\u2019: {number(peak.activation)}"
    return ShadedPassage(passage.emotion, passage.id, stretches, said)


def grouped(items: Iterable[Item], attribute: str) -> dict[str, list[Item]]:
    """Return the items by the value of an attribute, in order of first appearance."""
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(getattr(item, attribute), []).append(item)
    return groups


def latents_by_emotion(latents: Iterable[Latent]) -> dict[str, list[int]]:
    """Return the latents listed under each emotion, in the order of the page."""
    found: dict[str, list[int]] = {}
    for latent in latents:
        for share in latent.emotions:
            found.setdefault(share.emotion, []).append(latent.latent)
    return found


def flatten(facts: Mapping[str, Any], *, prefix: str = "") -> list[tuple[str, str]]:
    """Return nested facts as (dotted name, text) pairs; lists of plain values stand on one line."""
    flat: list[tuple[str, str]] = []
    for key, value in facts.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat += flatten(value, prefix=f"{name}.")
        elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            flat += flatten({str(index): item for index, item in enumerate(value)}, prefix=f"{name}.")
        elif isinstance(value, list):
            # A command line is read as it was typed, other lists as lists.
            flat.append((name, (" " if key == "command" else ", ").join(str(item) for item in value)))
        else:
            flat.append((name, "not known" if value is None else str(value)))
    return flat


def number(value: float | None) -> str:
    """Return a number as people read it: two or three figures, a true minus, a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "\u2013"
    if 0 < abs(value) < 0.0005:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa} \u00d7 10{str(int(exponent)).translate(_RAISED)}".replace("-", "\u2212")
    return _rounded(value, _digits(value))


def _digits(value: float) -> int:
    size = abs(value)
    if size >= 100 or (size >= 10 and value == round(value)):
        return 0
    return 1 if size >= 10 else 2 if size >= 0.095 or size == 0 else 3


def _rounded(value: float, digits: int) -> str:
    text = f"{value:,.{digits}f}"
    return text.replace("-", "\u2212" if any(letter in "123456789" for letter in text) else "")


def count(value: int | None) -> str:
    """Return a count with thousands set apart, or a dash."""
    return "\u2013" if value is None else f"{value:,}"


def interval(item: Any) -> str:
    """Return ``'0.55 to 0.69'`` from the ends of a row, or a dash where it has none."""
    if item.low is None or item.high is None or not (math.isfinite(item.low) and math.isfinite(item.high)):
        return "\u2013"
    if max(abs(item.low), abs(item.high)) < 0.0005:
        return f"{number(item.low)} to {number(item.high)}"
    digits = min(_digits(item.low), _digits(item.high))
    return f"{_rounded(item.low, digits)} to {_rounded(item.high, digits)}"


def percent(value: float | None) -> str:
    """Return a share in percent with one digit below ten."""
    if value is None or not math.isfinite(value):
        return "\u2013"
    share = 100 * value
    digits = 0 if abs(share) >= 9.95 else 1 if abs(share) >= 0.095 or share == 0 else 2
    return f"{share:.{digits}f} %".replace("-", "\u2212")


def share_interval(item: Any) -> str:
    """Return the interval of a share in percent, in brackets, or nothing."""
    if item.low is None or item.high is None:
        return ""
    return f"({percent(item.low).removesuffix(' %')} to {percent(item.high)})"


def visible(token: str) -> str:
    """Return a token with its line breaks, tabs and lone blanks made visible."""
    if not token.strip(" "):
        return "\u2423" * len(token) or "(empty)"
    return token.strip(" ").replace("\r", "").replace("\n", "\u21b5").replace("\t", "\u21e5")


def slug(text: str) -> str:
    """Return a text as part of an id."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"


def whisker(scores: list[Score]) -> bool:
    """Say whether every number of a group lies in 0 to 1, so that intervals can be drawn on one common line."""
    known = [end for score in scores for end in (score.value, score.low, score.high) if end is not None]
    return len(known) > 1 and all(math.isfinite(end) and 0 <= end <= 1 for end in known)


FILTERS: dict[str, Callable[..., Any]] = {
    "number": number,
    "count": count,
    "interval": interval,
    "percent": percent,
    "share_interval": share_interval,
    "visible": visible,
    "slug": slug,
    "whisker": whisker,
}
"""Names under which the template uses these functions."""
