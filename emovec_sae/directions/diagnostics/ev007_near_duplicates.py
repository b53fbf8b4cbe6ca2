"""EV007: whether there are near-duplicates among the texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from emovec_sae.directions.diagnostics.case import Case
from emovec_sae.directions.diagnostics.finding import Aspect, Inapplicable, grade
from emovec_sae.directions.diagnostics.registry import diagnostic

SIMILAR = 0.9
"""Cosine of the TF-IDF weights of character five-grams from which on two texts are near-duplicates."""

LEAK = 0.05
"""Share of leaked texts that fails: it can raise a held-out share by as much."""

BLOCK = 256
"""Texts that are compared with all others at a time."""


@dataclass(frozen=True, eq=False)
class Twins:
    """Which texts have a near-duplicate, shape (n,) each.

    Attributes
    ----------
    across
        In another group.
    inside
        In their own group, with the same emotion.
    pairs
        In their own group, with another emotion.
    """

    across: np.ndarray
    inside: np.ndarray
    pairs: np.ndarray


@diagnostic("EV007", "near-duplicates", asks="Are there near-duplicates among the texts, above all across groups?")
def near_duplicates(case: Case) -> list[Aspect]:
    """Compare all texts with each other by their character five-grams."""
    found = twins(case.texts, y=case.part.y, groups=case.part.groups)
    return [_across(found.across), _inside(found)]


def twins(texts: list[str], *, y: np.ndarray, groups: np.ndarray) -> Twins:
    """Find near-duplicates, in blocks: memory grows with the number of texts, time with its square.

    Raises
    ------
    Inapplicable
        If no text is as long as five characters.
    """
    plain = [" ".join(text.casefold().split()) for text in texts]
    if max(map(len, plain)) < 5:
        raise Inapplicable("No text has five characters to compare.")
    made = TfidfVectorizer(analyzer="char", ngram_range=(5, 5), lowercase=False).fit_transform(plain)
    weights: Any = sparse.csr_matrix(made, dtype=np.float32)
    flags = np.zeros((3, len(texts)), dtype=bool)
    for start in range(0, len(texts), BLOCK):
        block = sparse.coo_matrix(weights[start : start + BLOCK] @ weights[start:].T)
        alike = (block.data >= SIMILAR) & (block.row < block.col)
        one, other = block.row[alike] + start, block.col[alike] + start
        near, same = groups[one] == groups[other], y[one] == y[other]
        for flag, chosen in zip(flags, (~near, near & same, near & ~same), strict=True):
            flag[one[chosen]] = flag[other[chosen]] = True
    return Twins(*flags)


def _across(flags: np.ndarray) -> Aspect:
    count, share = int(flags.sum()), float(flags.mean())
    status, threshold = grade(share, warn=1 / len(flags), fail=LEAK)
    message = f"{count} of {len(flags)} texts have a near-duplicate in another group."
    if status != "pass":
        message += " Held-out numbers have seen them: put near-duplicates into one group, or keep one of each."
    return Aspect(
        status=status, measure="share of texts with a near-duplicate in another group", value=share, n=len(flags),
        threshold=threshold, message=message,
    )  # fmt: skip


def _inside(found: Twins) -> Aspect:
    count, pairs, share = int(found.inside.sum()), int(found.pairs.sum()), float(found.inside.mean())
    status, threshold = grade(share, warn=LEAK)
    message = f"{count} have one in their own group with the same emotion, {pairs} with another emotion."
    if status != "pass":
        message += " There are fewer texts than it seems: keep one of each."
    return Aspect(
        status=status, measure="share of texts with a near-duplicate of their emotion in their group", value=share,
        n=len(found.inside), threshold=threshold, message=message,
    )  # fmt: skip
