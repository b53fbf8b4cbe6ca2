"""The verdict of a comparison in words, made from its numbers; what was not run is not spoken of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from emovec_sae.interventions.comparison import statistics
from emovec_sae.interventions.comparison.falsifiers import RANDOM
from emovec_sae.interventions.comparison.names import SHARE, read_name

if TYPE_CHECKING:
    from emovec_sae.interventions.comparison.result import Comparison

_FEW = 20
"""Below so many emotions the ratio of each is told too."""
_MOST = 8
"""A sentence lists so many; the tables have all."""


def write_verdict(comparison: Comparison, level: float, *, seed: int = 0) -> list[str]:
    """One sentence or two on each: dose, primary test, single emotions, k90, necessity, specificity, falsifiers."""
    ratios = comparison.ratios(level, seed=seed)
    parts = [dose_sentence(comparison, level), primary_sentence(ratios), _others(ratios)]
    parts += [_single(comparison, ratios, level, seed), k90_sentence(ratios), _necessity(ratios)]
    parts += [_folds(comparison, ratios, level, seed), _specificity(comparison, level), _wrong(comparison, level)]
    parts.append(falsifier_sentence(comparison, level, seed=seed))
    return [part for part in parts if part]


def number(row: Mapping[Any, Any]) -> str:
    """A value with its interval; without one there is no ratio, for the reason that is told."""
    if np.isnan(row["value"]):
        return "not determined (the interval of the raw effect holds 0)"
    if np.isnan(row["low"]):
        return f"{row['value']:.2f}"
    return f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"


def dose_sentence(comparison: Comparison, level: float) -> str:
    """How many calibrations reached a level, and which did not."""
    doses = comparison.doses[comparison.doses["level"] == level]
    missed = doses[~doses["reached"].astype(bool)]
    told = f"All {len(doses)} calibrations reached {level:g} nats of KL on neutral text."
    if missed.empty:
        return told
    names = listed([f"{arm} ({count})" for arm, count in missed["arm"].value_counts().items()])
    return f"{len(missed)} of {len(doses)} calibrations could not reach {level:g} nats of KL: {names}."


def listed(parts: Sequence[str], *, between: str = ", ") -> str:
    """The first of a list, and how many more there are."""
    more = [] if len(parts) <= _MOST else [f"and {len(parts) - _MOST} more (all are in the table)"]
    return between.join([*parts[:_MOST], *more])


def primary_sentence(ratios: Any) -> str:
    """What the primary test says."""
    rows = ratios[ratios["primary"]].to_dict("records")
    if not rows:
        return f"The primary arm, {statistics.PRIMARY} by Delta share, was not run."
    row = rows[0]
    if np.isnan(row["value"]):
        return (
            f"Primary test: no ratio of the 16 latents of largest Delta share to the raw vectors over {row['n']} "
            "emotions, since the interval of the raw effect holds 0; so they are not shown to match them."
        )
    claim = "match" if row["matches"] else "are not shown to match"
    return (
        f"Primary test: the 16 latents of largest Delta share have {number(row)} of the raw vectors' effect over "
        f"{row['n']} emotions, so they {claim} them (that takes a lower bound of {statistics.MARGIN})."
    )


def shown_arm(ratios: Any) -> str | None:
    """The primary arm, or where it was not run the largest k by Delta share."""
    primary = ratios[ratios["primary"]]["arm"].tolist()
    if primary:
        return str(primary[0])
    named = [(found.k, str(arm)) for arm in ratios["arm"] if (found := read_name(str(arm))) is not None
             and (found.kind, found.selector) == ("latents", SHARE)]  # fmt: skip
    return max(named)[1] if named else None


def _others(ratios: Any) -> str:
    """Ratios of the other k by Delta share."""
    told = []
    for row in ratios[~ratios["primary"]].to_dict("records"):
        found = read_name(str(row["arm"]))
        if found is not None and (found.kind, found.selector) == ("latents", SHARE) and not np.isnan(row["value"]):
            told.append((found.k, f"k = {found.k} {number(row)}"))
    return f"By Delta share also: {', '.join(text for _, text in sorted(told))}." if told else ""


def _single(comparison: Comparison, ratios: Any, level: float, seed: int) -> str:
    """The ratio of each emotion, where they are few."""
    arm = shown_arm(ratios)
    table = comparison.ratios_by_emotion(level, seed=seed)
    rows = table[table["arm"] == arm].to_dict("records")
    if arm is None or not 0 < len(rows) < _FEW:
        return ""
    told = [f"{row['emotion']} {number(row)}" for row in rows if not np.isnan(row["value"])]
    without = [str(row["emotion"]) for row in rows if np.isnan(row["value"])]
    left = f" ({', '.join(without)}: no ratio, the raw vector has no clear effect)" if without else ""
    return f"By emotion, {arm} relative to raw: {', '.join(told) or 'none'}{left}."


def k90_sentence(ratios: Any) -> str:
    """The smallest k that matches, by selector."""
    table = statistics.k90(ratios)
    told = []
    for row in table[table["determined"]].to_dict("records"):
        smallest = f"none up to {row['largest']}" if np.isnan(row["k90"]) else f"{row['k90']:.0f}"
        told.append(f"{row['selector']}: {smallest}")
    return f"Smallest k that matches, by selector (Holm over the secondary tests): {'; '.join(told)}." if told else ""


def _necessity(ratios: Any) -> str:
    table = statistics.sufficiency_and_necessity(ratios)
    rows = table[table["quantity"] == "necessity"].to_dict("records")
    told = [f"k = {row['k']} by {row['selector']} {number(row)}" for row in rows if not np.isnan(row["value"])]
    if rows and not told:
        told = [f"{number(rows[0])} for any k"]
    said = listed(told, between="; ")
    return f"Share of the effect that the vector loses without its latents: {said}." if told else ""


def _folds(comparison: Comparison, ratios: Any, level: float, seed: int) -> str:
    """How the ratio differs between the folds of a rotation."""
    arm = shown_arm(ratios)
    table = comparison.ratios_by_fold(level, seed=seed)
    rows = table[table["arm"] == arm].to_dict("records")
    if arm is None or len(rows) < 2:
        return ""
    told = ", ".join(f"fold {row['fold']} {number(row)}" for row in rows)
    return f"Vectors and latents come from topics that do not meet; {arm} relative to raw by fold: {told}."


def _specificity(comparison: Comparison, level: float) -> str:
    told = []
    for arm in ("raw", shown_arm(comparison.ratios(level))):
        table = comparison.specificity(level, arm) if arm else comparison.effects.head(0)
        if table.empty:
            continue
        own, rest = (table[table["own"] == one]["effect"] for one in (True, False))
        first = table.loc[table.groupby("emotion")["effect"].idxmax(), "own"]
        others = "" if rest.empty else f" and those of the others by {rest.mean():+.2f}"
        told.append(
            f"{arm} moves the words of its own emotion by {own.mean():+.2f} nats{others}, its own most for "
            f"{int(first.sum())} of {len(first)}"
        )
    return f"Specificity: {'; '.join(told)}." if told else ""


def _wrong(comparison: Comparison, level: float) -> str:
    first = ("raw", shown_arm(comparison.ratios(level)), "random")
    rows = sorted(comparison.wrong_way(level).to_dict("records"), key=lambda row: row["arm"] not in first)
    told = [f"{row['arm']} {row['value']:.0%}" for row in rows]
    return f"Share of prompts that moved away from the emotion: {listed(told)}." if told else ""


def falsifier_sentence(comparison: Comparison, level: float, *, seed: int = 0) -> str:
    """Which falsifiers hold; that random latents are as good counts until the difference is clear."""
    table = comparison.falsifiers(level, seed=seed)
    if table.empty:
        return ""
    held = table[table["holds"]]
    if held.empty:
        return f"None of the {len(table)} falsifiers that could be computed holds."
    told = [
        f"{row['falsifier']}{' is not excluded' if str(row['falsifier']).startswith(RANDOM) else ''}: "
        f"{row['arm']} {number(row)}"
        for row in held.to_dict("records")
    ]
    return f"{len(held)} of {len(table)} falsifiers hold: {listed(told, between='; ')}."
