"""Emotions told from something else than activations, in held-out groups."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from emovec_sae.directions.diagnostics.case import Case
from emovec_sae.directions.diagnostics.finding import Aspect, Inapplicable, Status
from emovec_sae.directions.folds import assign_folds
from emovec_sae.directions.ranking import rank_by_fold
from emovec_sae.stats import bootstrap_mean

SMALL, MEDIUM = 0.56, 0.64
"""AUROC of two normal distributions whose means differ by 0.2 and 0.5 deviations: Phi(d / sqrt 2)."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Texts whose emotion occurs in at least two folds, so that it can be learned without the text's own fold.

    Attributes
    ----------
    rows
        Rows of the case, shape (n,).
    y, folds, groups
        Codes from 0, shape (n,).
    emotions
        Names of the emotions.
    """

    rows: np.ndarray
    y: np.ndarray
    folds: np.ndarray
    groups: np.ndarray
    emotions: tuple[str, ...]


def held_out(case: Case, *, most: int) -> HeldOut:
    """Put whole groups into at most so many folds.

    Raises
    ------
    Inapplicable
        If there are fewer than two groups, or fewer than two emotions that occur in two folds.
    """
    part = case.part
    if len(part.group_names) < 2:
        raise Inapplicable("There is one group only, so nothing can be held out.")
    folds = assign_folds(part.groups, folds=most if len(part.group_names) > most else None)
    cells = np.zeros((len(part.emotions), int(folds.max()) + 1), dtype=bool)
    cells[part.y, folds] = True
    known = cells.sum(axis=1) >= 2
    if known.sum() < 2:
        raise Inapplicable(
            f"{int(known.sum())} of {len(part.emotions)} emotions have texts in more than one fold of groups; two are "
            "needed to tell one from the other in groups that were held out."
        )
    rows = np.flatnonzero(known[part.y])
    y, fold_of = (np.unique(codes[rows], return_inverse=True)[1] for codes in (part.y, folds))
    names = tuple(name for name, kept in zip(part.emotions, known, strict=True) if kept)
    return HeldOut(rows, y, fold_of, part.groups[rows], names)


def told_from(what: str, held: HeldOut, scores: np.ndarray, *, seed: int, advice: str) -> Aspect:
    """Judge how well emotions are told, by the area under the ROC curve.

    Parameters
    ----------
    what
        What they are told from.
    held
        The texts.
    scores
        Score of each text on each emotion, learned without the text's fold, shape (n, n_emotions).
    seed
        Of the interval, whose clusters are groups.
    advice
        What to do if it fires.
    """
    found = rank_by_fold(scores, held.y, held.folds).auroc
    known = np.isfinite(found)
    if not known.any():
        raise Inapplicable("Every fold of groups holds texts of one emotion only: there is nothing to tell apart.")
    bar = bootstrap_mean(found[known], held.groups[known], seed=seed)
    low, high = (float(end) for end in np.clip([bar.low, bar.high], 0, 1))
    status, threshold = judge_auroc(bar.value, low)
    message = (
        f"In held-out groups the emotion is told from {what} with an AUROC of {bar.value:.2f} [{low:.2f}, {high:.2f}], "
        f"chance 0.50."
    )
    return Aspect(
        status=status, measure=f"AUROC from {what}", value=bar.value, low=low, high=high, n=bar.n, threshold=threshold,
        message=message if status == "pass" else f"{message} {advice}",
    )  # fmt: skip


def judge_auroc(value: float, low: float) -> tuple[Status, float]:
    """Status and limit: it fires where the interval excludes chance and the effect is at least small."""
    # One cluster has no interval: then the value alone decides, and no more than a warning can come of it.
    if math.isnan(low):
        return ("warn" if value >= SMALL else "pass"), SMALL
    if low <= 0.5 or value < SMALL:
        return "pass", SMALL
    return ("fail", MEDIUM) if value >= MEDIUM else ("warn", SMALL)
