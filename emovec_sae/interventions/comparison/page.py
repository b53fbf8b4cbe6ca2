"""The verdict of a comparison on one page of Markdown: sentences first, then the tables that they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from emovec_sae.interventions.comparison import statistics
from emovec_sae.interventions.comparison.verdict import (
    dose_sentence,
    k90_sentence,
    number,
    primary_sentence,
    write_verdict,
)

if TYPE_CHECKING:
    from emovec_sae.interventions.comparison.result import Comparison

_ABOUT = (
    f"An arm matches the raw vectors when the lower end of its 95 % interval is at least {statistics.MARGIN} and, for "
    "every arm but the primary one, its test holds after Holm's correction."
)


def verdict_page(comparison: Comparison, level: float, *, seed: int = 0, title: str = "") -> str:
    """One page in words: the verdict at a level, its tables, and what the other levels say.

    Parameters
    ----------
    comparison
        The comparison.
    level
        KL in nats at which the main comparison is made.
    seed
        Of the resampling.
    title
        What the comparison is of, for the heading.

    Returns
    -------
    str
        Markdown.
    """
    sentences = write_verdict(comparison, level, seed=seed)
    ratios = comparison.ratios(level, seed=seed)
    parts = [f"# Do k latents do what the vector does?{f' {title}' if title else ''}", _facts(comparison, level)]
    parts += ["\n".join(f"- {one}" for one in sentences)]
    parts += [f"## Effect relative to the raw vectors at {level:g} nats", _ABOUT, _table(_ratio_rows(ratios))]
    folds = comparison.ratios_by_fold(level, seed=seed)
    if folds["fold"].nunique() > 1:
        parts += ["## By fold of the rotation over topics", _table(_fold_rows(folds))]
    falsifiers = comparison.falsifiers(level, seed=seed)
    if not falsifiers.empty:
        parts += ["## What would speak against it", _table(_falsifier_rows(falsifiers))]
    others = [one for one in sorted(comparison.doses["level"].unique()) if one != level]
    if others:
        parts += ["## Other levels", "\n".join(_level(comparison, float(one), seed) for one in others)]
    parts += ["## Doses", _doses(comparison)]
    return "\n\n".join(parts) + "\n"


def _facts(comparison: Comparison, level: float) -> str:
    """What was compared, in a line."""
    about = comparison.provenance
    model = about.get("model", {}).get("name")
    told = [f"model {model}" if model else "", f"{level:g} nats of KL on neutral text"]
    own = comparison.own()
    told += [
        f"{own['emotion'].nunique()} emotions",
        f"{own['prompt'].nunique()} prompts",
        f"{own['arm'].nunique()} arms",
    ]
    folds = int(own["fold"].nunique())
    told.append(f"{folds} folds of topics" if folds > 1 else "no rotation over topics")
    return f"Made from the numbers of the run: {', '.join(one for one in told if one)}."


def _ratio_rows(ratios: pd.DataFrame) -> list[dict[str, str]]:
    found = []
    for row in ratios.to_dict("records"):
        p = "" if np.isnan(row["p_holm"]) else f"{row['p_holm']:.2g}"
        verdict = "yes" if row["matches"] else "not shown"
        primary = " (primary)" if row["primary"] else ""
        found.append({"arm": f"{row['arm']}{primary}", "ratio": number(row), "emotions": str(row["n"]),
                      "p, corrected": p, "matches": verdict})  # fmt: skip
    return found


def _fold_rows(folds: pd.DataFrame) -> list[dict[str, str]]:
    return [
        {"arm": str(row["arm"]), "fold": str(row["fold"]), "ratio": number(row),
         "apart from all folds": "" if np.isnan(row["apart"]) else f"{row['apart']:+.2f}"}
        for row in folds.to_dict("records")
    ]  # fmt: skip


def _falsifier_rows(table: pd.DataFrame) -> list[dict[str, str]]:
    return [
        {"falsifier": str(row["falsifier"]), "arm": str(row["arm"]), "value": number(row), "bar": f"{row['bar']:g}",
         "holds": "yes" if row["holds"] else "no"}
        for row in table.to_dict("records")
    ]  # fmt: skip


def _level(comparison: Comparison, level: float, seed: int) -> str:
    ratios = comparison.ratios(level, seed=seed)
    told = [dose_sentence(comparison, level), primary_sentence(ratios), k90_sentence(ratios)]
    return f"- {level:g} nats: {' '.join(one for one in told if one)}"


def _doses(comparison: Comparison) -> str:
    """The calibrations that missed their level, or that none did; what is never calibrated aside."""
    doses = comparison.doses
    missed = doses[~doses["reached"].astype(bool)]
    if missed.empty:
        return f"All {len(doses)} calibrations reached their level within 2 %."
    rows = []
    for (arm, level), some in missed.groupby(["arm", "level"], sort=False):
        named = ", ".join(str(one) for one in some["emotion"].dropna().unique()[:6])
        more = some["emotion"].nunique() - 6
        rows.append(
            {"arm": str(arm), "asked, nats": f"{level:g}", "calibrations": str(len(some)),
             "reached, nats": f"{some['kl'].min():.3g} to {some['kl'].max():.3g}",
             "emotions": (named or "all") + (f" and {more} more" if more > 0 else "")}
        )  # fmt: skip
    return f"{len(missed)} of {len(doses)} calibrations missed their level by more than 2 %.\n\n{_table(rows)}"


def _table(rows: list[dict[str, str]]) -> str:
    if not rows:
        return "Nothing was run at this level."
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([row[name] for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
