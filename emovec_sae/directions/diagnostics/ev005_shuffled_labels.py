"""EV005: whether held-out readings beat those of shuffled labels."""

from __future__ import annotations

import math

import numpy as np

from emovec_sae.directions.diagnostics.case import Case, quick
from emovec_sae.directions.diagnostics.finding import Aspect, Inapplicable, Status
from emovec_sae.directions.diagnostics.held_out import HeldOut, held_out
from emovec_sae.directions.diagnostics.registry import diagnostic
from emovec_sae.directions.folds import FoldedVectors
from emovec_sae.directions.ranking import own_ranks
from emovec_sae.directions.readouts import ReadoutStats, balanced_weights, read_projections, unit_rows
from emovec_sae.stats import permutation_p, permuted_labels, proportion

FOLDS = 4
"""Most folds of whole groups: every permutation is cross-validated with them."""

PERMUTATIONS, SLOW_PERMUTATIONS = 49, 19
"""Permutations of the labels, and for an estimator that takes more than sums over classes."""

LEVEL = 0.05
"""P value above which the labels read nothing."""


@diagnostic("EV005", "shuffled labels", asks="Do held-out readings beat those of labels shuffled within groups?")
def shuffled_labels(case: Case) -> list[Aspect]:
    """Cross-validate with the real labels and with permuted ones; top-1 of both."""
    held = held_out(case, most=FOLDS)
    count = PERMUTATIONS if quick(case.estimator) else SLOW_PERMUTATIONS
    floor = max(1 / (count + 1), math.exp(-_log_arrangements(held)))
    if floor > LEVEL:
        raise Inapplicable(
            f"Within groups the labels can be arranged in {1 / floor:.0f} way(s) only, so no p can fall below "
            f"{floor:.2f}: the groups need texts of several emotions."
        )
    values = case.values[held.rows]
    hits = _hits(case, held, values, held.y)
    shuffled = permuted_labels(held.y, blocks=held.groups, permutations=count, seed=case.seed)
    null = np.array([_hits(case, held, values, np.asarray(y)).mean() for y in shuffled])
    bar = proportion(hits, held.groups)
    p = float(permutation_p(bar.value, null))
    status = _status(p, low=bar.low, null=float(null.mean()))
    message = (
        f"Held-out top-1 is {bar.value:.3f} [{bar.low:.3f}, {bar.high:.3f}], with labels shuffled within groups "
        f"{null.mean():.3f} (at most {null.max():.3f}); p = {p:.3g}, the smallest that {count} permutations allow is "
        f"{floor:.3g}."
    )
    advice = " These vectors hold nothing of the labels: try another site or estimator, or more texts an emotion."
    return [
        Aspect(
            status=status, measure="held-out top-1", value=bar.value, low=bar.low, high=bar.high, n=bar.n,
            threshold=float(np.quantile(null, 1 - LEVEL)), message=message + (advice if status == "fail" else ""),
        )
    ]  # fmt: skip


def _status(p: float, *, low: float, null: float) -> Status:
    if p > LEVEL:
        return "fail"
    return "pass" if low > null else "warn"


def _hits(case: Case, held: HeldOut, values: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Whether each text's own emotion ranks first, by vectors and statistics of the other folds, shape (n,)."""
    vectors = FoldedVectors(values, y, held.folds, emotions=held.emotions, estimator=case.estimator, groups=held.groups)
    hits = np.zeros(len(y), dtype=bool)
    for fold in range(int(held.folds.max()) + 1):
        test = held.folds == fold
        units = unit_rows(vectors.without([fold])).astype(values.dtype)
        projections = values @ units.T
        stats = ReadoutStats.of_projections(values[~test], projections[~test], balanced_weights(y[~test]))
        scores = read_projections(values[test], projections[test], units, stats, readout=case.readout)
        hits[test] = own_ranks(scores, y[test]) == 1
    return hits


def _log_arrangements(held: HeldOut) -> float:
    """Logarithm of the number of ways to arrange the labels within groups."""
    cells = np.zeros((int(held.groups.max()) + 1, len(held.emotions)), dtype=np.int64)
    np.add.at(cells, (held.groups, held.y), 1)
    return float(sum(math.lgamma(row.sum() + 1) - sum(math.lgamma(n + 1) for n in row) for row in cells))
