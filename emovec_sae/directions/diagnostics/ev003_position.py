"""EV003: whether token positions or a few huge dimensions rule the activations."""

from __future__ import annotations

import numpy as np
from sklearn.decomposition import PCA

from emovec_sae.directions.diagnostics.case import Case
from emovec_sae.directions.diagnostics.finding import Aspect, grade
from emovec_sae.directions.diagnostics.registry import diagnostic
from emovec_sae.stats import correlation

OFFSET_POOLS = ("mean", "max")
"""Pools that begin at the offset."""

CORRELATION = (0.3, 0.5)
"""Rank correlations of the leading direction with length that warn and fail: medium and large by Cohen's rule."""

MASSIVE = 0.25
"""Share of the variance in three coordinates that warns."""

LEAST_DIMENSIONS = 24
"""Below so many dimensions, three of them hold a good part of the variance anyway."""


@diagnostic("EV003", "position", asks="Do token positions or a few huge dimensions rule the activations?")
def position(case: Case) -> list[Aspect]:
    """Look at the offset, at the leading direction of the activations, and at their largest coordinates."""
    return [*_leading(case), *_massive(case), _offset(case)]


def _offset(case: Case) -> Aspect:
    """Whether the first tokens are in the pool; pools that do not begin at the offset always pass."""
    early = case.pool in OFFSET_POOLS and case.offset == 0
    message = f"The {case.pool} pool is of texts from offset {case.offset} on."
    if early:
        message = (
            f"The {case.pool} pool begins at offset 0: the first tokens, where attention gathers and which know little "
            "of the text, are in it. Record with an offset (20, say), unless these are replies."
        )
    return Aspect(
        status="warn" if early else "pass", measure="offset", value=float(case.offset), n=len(case.part),
        threshold=1.0, message=message,
    )  # fmt: skip


def _leading(case: Case) -> list[Aspect]:
    """Rank correlation of the first principal component of the texts with their length."""
    lengths, unit = case.lengths
    if len(lengths) < 3 or case.values.shape[1] < 2 or np.ptp(lengths) == 0 or not np.ptp(case.values, axis=0).any():
        return []
    values = case.values.astype(np.float64)
    scores = PCA(1, svd_solver="arpack", random_state=case.seed).fit_transform(values)[:, 0]
    found = correlation(scores, lengths, kind="spearman", permutations=1, seed=case.seed)
    low, high = (found.low, found.high) if found.value >= 0 else (-found.high, -found.low)
    value = abs(found.value)
    # Without an interval that excludes 0 even a large correlation of few texts says nothing.
    status, threshold = grade(value if low > 0 else 0.0, warn=CORRELATION[0], fail=CORRELATION[1])
    message = (
        f"The leading direction of the activations follows the number of {unit} with a rank correlation of "
        f"{value:.2f} [{low:.2f}, {high:.2f}]."
    )
    advice = " Pool from a later token on, and bring the texts to one length."
    return [
        Aspect(
            status=status, measure=f"rank correlation of the leading direction with the number of {unit}", value=value,
            low=low, high=high, n=found.n, threshold=threshold, message=message + ("" if status == "pass" else advice),
        )
    ]  # fmt: skip


def _massive(case: Case) -> list[Aspect]:
    """Share of the variance over texts that lies in the three coordinates of the largest variance."""
    if case.values.shape[1] < LEAST_DIMENSIONS:
        return []
    spread = np.sort(case.values.var(axis=0, dtype=np.float64))[::-1]
    if spread[0] == 0:
        return []
    one, three = float(spread[0] / spread.sum()), float(spread[:3].sum() / spread.sum())
    status, threshold = grade(three, warn=MASSIVE)
    message = f"Three of {len(spread)} coordinates hold {three:.0%} of the variance over texts, the first {one:.0%}."
    advice = " Plain differences of means and cosines see little else: fit WhitenedDiffMean or ShrinkageLDA."
    return [
        Aspect(
            status=status, measure="share of the variance in three coordinates", value=three, n=len(case.part),
            threshold=threshold, message=message + ("" if status == "pass" else advice),
        )
    ]  # fmt: skip
