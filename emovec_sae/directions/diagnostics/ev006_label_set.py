"""EV006: whether the set of emotions is lopsided."""

from __future__ import annotations

import numpy as np

from emovec_sae.corpora import load_norms
from emovec_sae.directions.diagnostics.case import Case
from emovec_sae.directions.diagnostics.finding import Aspect, grade
from emovec_sae.directions.diagnostics.registry import diagnostic

COUNTS = (3.0, 10.0)
"""Ratios of the most to the fewest texts of an emotion that warn and fail."""

VALENCE = (1.0, 2.0)
"""Distances of the mean valence from the middle of the scale that warn and fail, in points of 1 to 9."""

MIDDLE = 5.0

LEAST_RATED = 0.5
"""Share of the emotions that must have a rating."""


@diagnostic("EV006", "label set", asks="Is the set of emotions lopsided, in numbers of texts or in valence?")
def label_set(case: Case) -> list[Aspect]:
    """Compare the numbers of texts of the emotions, and the mean of their ratings with the middle of the scale."""
    return [_counts(case), *_valence(case)]


def _counts(case: Case) -> Aspect:
    counts = np.bincount(case.part.y)
    most, fewest = case.part.emotions[int(counts.argmax())], case.part.emotions[int(counts.argmin())]
    ratio = float(counts.max() / counts.min())
    status, threshold = grade(ratio, warn=COUNTS[0], fail=COUNTS[1])
    message = f"The emotions have {counts.min()} ('{fewest}') to {counts.max()} ('{most}') texts."
    if ratio == 1:
        message = f"All emotions have {counts.max()} texts."
    if status != "pass":
        message += (
            " Each weighs the same in the grand mean, so the noise of the small ones moves every vector: even them out."
        )
    return Aspect(
        status=status, measure="most over fewest texts of an emotion", value=ratio, n=len(counts), threshold=threshold,
        message=message,
    )  # fmt: skip


def _valence(case: Case) -> list[Aspect]:
    """Mean valence of the emotions less the middle of the scale; nothing where too few are rated."""
    norms = load_norms()
    ratings = dict(zip(norms["emotion"].str.casefold(), norms["valence"], strict=True))
    found = [ratings[name.casefold()] for name in case.part.emotions if name.casefold() in ratings]
    if len(found) < 2 or len(found) < LEAST_RATED * len(case.part.emotions):
        return []
    off = float(np.mean(found)) - MIDDLE
    status, threshold = grade(abs(off), warn=VALENCE[0], fail=VALENCE[1])
    message = f"The mean valence of {len(found)} rated emotions is {off + MIDDLE:.1f} on a scale of 1 to 9."
    if status != "pass":
        side = "pleasant" if off > 0 else "unpleasant"
        message += (
            f" The grand mean is itself {side}, and what the emotions share is taken from all of them: add emotions of "
            "the other side, or subtract neutral texts, DiffMean(against=neutral)."
        )
    return [
        Aspect(
            status=status, measure="mean valence less 5", value=off, n=len(found), threshold=threshold, message=message
        )
    ]
