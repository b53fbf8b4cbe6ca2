"""The verdict of a comparison in words, made from its numbers; what was not run is not spoken of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from emovec_sae.interventions.comparison import statistics

if TYPE_CHECKING:
    from emovec_sae.interventions.comparison.result import Comparison


def write_verdict(comparison: Comparison, level: float, *, seed: int = 0) -> list[str]:
    """One sentence or two on each: the dose, the primary test, k90, necessity, controls, falsifiers."""
    ratios = comparison.ratios(level, seed=seed)
    parts = [_dose(comparison, level), _primary(ratios), _k90(ratios), _necessity(ratios)]
    parts += [_wrong(comparison, level), _falsifiers(comparison, level, seed)]
    return [part for part in parts if part]


def _number(row: Mapping[Any, Any]) -> str:
    if np.isnan(row["value"]):
        return "not determined (the interval of the raw effect holds 0)"
    return f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"


def _dose(comparison: Comparison, level: float) -> str:
    doses = comparison.doses[comparison.doses["level"] == level]
    missed = doses[~doses["reached"].astype(bool)]
    told = f"All {len(doses)} calibrations reached {level:g} nats of KL on neutral text."
    if missed.empty:
        return told
    names = ", ".join(f"{arm} ({count})" for arm, count in missed["arm"].value_counts().items())
    return f"{len(missed)} of {len(doses)} calibrations could not reach {level:g} nats of KL: {names}."


def _primary(ratios: Any) -> str:
    rows = ratios[ratios["primary"]].to_dict("records")
    if not rows:
        return f"The primary arm, {statistics.PRIMARY} by Delta share, was not run."
    row = rows[0]
    claim = "match" if row["matches"] else "are not shown to match"
    return (
        f"Primary test: the 16 latents of largest Delta share have {_number(row)} of the raw vectors' effect over "
        f"{row['n']} emotions, so they {claim} them (that takes a lower bound of {statistics.MARGIN})."
    )


def _k90(ratios: Any) -> str:
    table = statistics.k90(ratios)
    told = []
    for row in table[table["determined"]].to_dict("records"):
        smallest = f"none up to {row['largest']}" if np.isnan(row["k90"]) else f"{row['k90']:.0f}"
        told.append(f"{row['selector']}: {smallest}")
    return f"Smallest k that matches, by selector (Holm over the secondary tests): {'; '.join(told)}." if told else ""


def _necessity(ratios: Any) -> str:
    table = statistics.sufficiency_and_necessity(ratios)
    told = [
        f"k = {row['k']} by {row['selector']} {_number(row)}"
        for row in table[table["quantity"] == "necessity"].to_dict("records")
    ]
    return f"Share of the effect that the vector loses without its latents: {'; '.join(told)}." if told else ""


def _wrong(comparison: Comparison, level: float) -> str:
    told = [f"{row['arm']} {row['value']:.0%}" for row in comparison.wrong_way(level).to_dict("records")]
    return f"Share of prompts that moved away from the emotion: {', '.join(told)}." if told else ""


def _falsifiers(comparison: Comparison, level: float, seed: int) -> str:
    table = comparison.falsifiers(level, seed=seed)
    if table.empty:
        return ""
    held = table[table["holds"]]
    if held.empty:
        return f"None of the {len(table)} falsifiers that could be computed holds."
    told = "; ".join(f"{row['falsifier']}: {row['arm']} {_number(row)}" for row in held.to_dict("records"))
    return f"{len(held)} of {len(table)} falsifiers hold: {told}."
