"""EV001: whether the emotion can be told from the length of a text alone."""

from __future__ import annotations

import numpy as np

from emovec_sae.directions.diagnostics.case import Case
from emovec_sae.directions.diagnostics.finding import Aspect
from emovec_sae.directions.diagnostics.held_out import held_out, told_from
from emovec_sae.directions.diagnostics.registry import diagnostic

FOLDS = 10
"""Most folds of whole groups."""


@diagnostic("EV001", "length", asks="Can the emotion be told from the length of a text alone?")
def length(case: Case) -> list[Aspect]:
    """Read the emotion from log length: a text scores high on an emotion whose mean length it is near to."""
    held = held_out(case, most=FOLDS)
    lengths, unit = case.lengths
    logs = np.log(lengths[held.rows])
    scores = np.zeros((len(logs), len(held.emotions)))
    for fold in np.unique(held.folds):
        test = held.folds == fold
        y = held.y[~test]
        means = np.bincount(y, weights=logs[~test]) / np.bincount(y)
        scores[test] = -np.square(logs[test][:, None] - means)
    advice = "Write or cut the texts of all emotions to one length, or leave out the emotions whose texts stand out."
    return [told_from(f"the number of {unit}", held, scores, seed=case.seed, advice=advice)]
