"""EV009: whether the emotion vectors follow who wrote the texts."""

from __future__ import annotations

import numpy as np
import pandas as pd

from emovec_sae.directions.diagnostics.case import Case
from emovec_sae.directions.diagnostics.finding import Aspect, Inapplicable, grade
from emovec_sae.directions.diagnostics.registry import diagnostic
from emovec_sae.directions.readouts import unit_rows
from emovec_sae.stats import permutation_p

EXPLAINED = (0.1, 0.3)
"""Adjusted R^2 that warn and fail, if p is at most `LEVEL`."""

LEVEL = 0.05
DRAWS = 999
"""Permutations of the emotions, and resamples of them."""

SPARE = 6
"""Emotions that must be left over after one number for each writer."""


@diagnostic("EV009", "writer", asks="Does the first component of the emotion vectors follow who wrote the texts?")
def writer(case: Case) -> list[Aspect]:
    """Regress the first principal component of the unit vectors on each emotion's shares of writers."""
    shares, writers = _shares(case)
    units = unit_rows(case.vectors(np.ones(len(case.part), dtype=bool)))
    centred = units - units.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    scores = left[:, 0] * sizes[0]
    rank = np.linalg.matrix_rank(shares - shares.mean(axis=0))
    if len(scores) < rank + SPARE:
        raise Inapplicable(f"{len(scores)} emotions are too few to tell {writers} writers by.")
    random = np.random.default_rng(case.seed)
    value = adjusted(scores, shares)
    null = [adjusted(random.permutation(scores), shares) for _ in range(DRAWS)]
    p = float(permutation_p(value, np.array(null)))
    low, high = _interval(scores, shares, random)
    status, threshold = grade(value if p <= LEVEL else 0.0, warn=EXPLAINED[0], fail=EXPLAINED[1])
    message = (
        f"Shares of {writers} writers explain {max(value, 0):.0%} [{max(low, 0):.0%}, {max(high, 0):.0%}] of the first "
        f"component of {len(scores)} emotion vectors (adjusted R^2; permutation p = {p:.2g})."
    )
    advice = " Let each writer write for all emotions, or subtract each writer's mean."
    return [
        Aspect(
            status=status, measure="adjusted R^2 of the first component on writers", value=value, low=low, high=high,
            n=len(scores), threshold=threshold, message=message + ("" if status == "pass" else advice),
        )
    ]  # fmt: skip


def _shares(case: Case) -> tuple[np.ndarray, int]:
    """Share of each writer in the texts of each emotion, shape (n_emotions, n_writers), and how many there are."""
    frame = case.part.frame
    if "writer" not in frame.columns or not bool(frame["writer"].notna().any()):
        raise Inapplicable("The texts have no column 'writer'.")
    # Texts without a writer count as one writer of their own.
    names = frame["writer"].astype(object).where(frame["writer"].notna(), "").astype(str)
    if names.nunique() < 2:
        raise Inapplicable("All texts are by one writer.")
    table = pd.crosstab(case.part.y, names.to_numpy(), normalize="index").to_numpy()
    return table, table.shape[1]


def adjusted(scores: np.ndarray, shares: np.ndarray) -> float:
    """Adjusted R^2 of scores, shape (n,), on shares, shape (n, k); 0 where either is constant."""
    x, y = shares - shares.mean(axis=0), scores - scores.mean()
    coefficients, _, rank, _ = np.linalg.lstsq(x, y)
    spare = len(y) - int(rank) - 1
    total = float(y @ y)
    if rank == 0 or total == 0 or spare < 1:
        return 0.0
    rest = float(np.square(y - x @ coefficients).sum())
    return 1 - rest / total * (len(y) - 1) / spare


def _interval(scores: np.ndarray, shares: np.ndarray, random: np.random.Generator) -> tuple[float, float]:
    """Percentiles over resampled emotions."""
    picks = random.integers(len(scores), size=(DRAWS, len(scores)))
    draws = [adjusted(scores[pick], shares[pick]) for pick in picks]
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)
