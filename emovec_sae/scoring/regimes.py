"""Clean, repetitive or collapsed: what became of a generated text, told from its tokens and their surprise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

REGIMES = ("clean", "repetitive", "collapsed")
REPEATED = 0.5
"""From this share of windows of `_WINDOW` tokens that stood in the text before, a text is repetitive."""
SURPRISE = 3.0
"""From so many nats a token above the unedited answers, as the unedited model reads it, a text is collapsed."""
_WINDOW = 4


def repeated(tokens: Sequence[int]) -> float:
    """Share of windows of 4 tokens that stood in the text before; 0 for a text without windows."""
    windows = _grams(tokens, _WINDOW)
    return 1 - len(set(windows)) / len(windows) if windows else 0.0


def distinct(tokens: Sequence[int], n: int) -> float:
    """Share of different ones among the n-grams of a text's tokens; NaN for a text with fewer than n tokens.

    References
    ----------
    Li et al. 2016, A Diversity-Promoting Objective Function for Neural Conversation Models.
    """
    grams = _grams(tokens, n)
    return len(set(grams)) / len(grams) if grams else float("nan")


def tell_regimes(surprise: ArrayLike, repetition: ArrayLike, *, usual: float) -> np.ndarray:
    """The regime of each text.

    Parameters
    ----------
    surprise
        Mean negative log-probability of each text's tokens under the unedited model, nats, shape (n,); NaN for an
        empty text, which counts as collapsed.
    repetition
        From `repeated`, shape (n,).
    usual
        Mean surprise of the unedited model's own texts.

    Returns
    -------
    numpy.ndarray
        Names of `REGIMES`, shape (n,).
    """
    collapsed = ~(np.asarray(surprise, dtype=float) - usual < SURPRISE)
    return np.select([collapsed, np.asarray(repetition, dtype=float) >= REPEATED], ["collapsed", "repetitive"], "clean")


def _grams(tokens: Sequence[int], n: int) -> list[tuple[int, ...]]:
    return [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]
