"""EV004: whether two halves of the groups give the same vectors."""

from __future__ import annotations

import itertools
import math

import numpy as np

from emovec_sae.directions.diagnostics.case import Case, quick, whitens
from emovec_sae.directions.diagnostics.finding import Aspect, Inapplicable, grade_below
from emovec_sae.directions.diagnostics.registry import diagnostic
from emovec_sae.directions.readouts import unit_rows

HALVINGS, SLOW_HALVINGS = 20, 5
"""Most halvings of the groups, and for an estimator that takes more than sums over classes."""

WARN, FAIL = 0.65, 0.4
"""Share of a vector's squared length that comes back: its cosine with the vector of endless texts is the root of it."""


@diagnostic("EV004", "split-half", asks="Do two halves of the groups give the same vectors?")
def split_half(case: Case) -> list[Aspect]:
    """Fit on disjoint halves of the groups; median cosine over emotions, stepped up to all groups."""
    groups = case.part.groups
    count = len(case.part.group_names)
    if count < 2:
        raise Inapplicable("There is one group only, which has no halves.")
    most = HALVINGS if quick(case.estimator) else SLOW_HALVINGS
    found = [_cosines(case, half[groups]) for half in halvings(count, most=most, seed=case.seed)]
    medians = np.array([np.median(cosines) for cosines in found if len(cosines)])
    if not len(medians):
        raise Inapplicable("No two emotions have texts in both halves of the groups.")
    whole = spearman_brown(medians)
    value, raw = float(whole.mean()), float(medians.mean())
    low, high = np.quantile(whole, [0.025, 0.975]) if len(whole) > 1 else (math.nan, math.nan)
    status, threshold = grade_below(value, warn=WARN, fail=FAIL)
    message = (
        f"Vectors of two disjoint halves of {count} groups have a median cosine of {raw:.2f} over emotions, "
        f"{value:.2f} stepped up to all groups ({len(whole)} halvings)."
    )
    advice = " They are noisy: add groups or texts, or look at fewer emotions."
    if whitens(case.estimator):
        advice = (
            " Whitening spreads noise over all dimensions: such vectors may still read well (EV005), but do not steer "
            "with them or interpret them; take DiffMean for that."
        )
    return [
        Aspect(
            status=status, measure="split-half cosine, Spearman-Brown", value=value, low=float(low), high=float(high),
            n=len(case.part.emotions), threshold=threshold, message=message + ("" if status == "pass" else advice),
        )
    ]  # fmt: skip


def spearman_brown(half: np.ndarray) -> np.ndarray:
    """What a half's reliability makes for the whole; what is not positive stays as it is."""
    return np.where(half > 0, 2 * half / (1 + np.maximum(half, 0)), half)


def halvings(count: int, *, most: int, seed: int) -> list[np.ndarray]:
    """Masks of half of the groups, shape (count,): all ways if they are at most `most`, else random ones."""
    size = count // 2
    ways = math.comb(count, size) // (2 if count % 2 == 0 else 1)
    if ways <= most:
        # With an even number the complement of a half is the same halving: group 0 stays in the first half.
        halves = itertools.combinations(range(count), size)
        chosen = [np.array(half) for half in halves if count % 2 or 0 in half]
    else:
        random = np.random.default_rng(seed)
        chosen = [random.permutation(count)[:size] for _ in range(most)]
    return [np.isin(np.arange(count), half) for half in chosen]


def _cosines(case: Case, first: np.ndarray) -> np.ndarray:
    """Cosine between the vectors of a mask of texts and of the others, for each emotion that both have."""
    y = case.part.y
    both = np.intersect1d(y[first], y[~first])
    if len(both) < 2:
        return np.zeros(0)
    kept = np.isin(y, both)
    one, other = (unit_rows(case.vectors(kept & mask)) for mask in (first, ~first))
    return np.einsum("nd,nd->n", one, other)
