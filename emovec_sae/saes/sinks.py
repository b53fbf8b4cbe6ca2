"""Sink tokens: the few whose residual is a hundred times as long as the others'.

Models park attention on a token of huge norm. It is the first token mostly, which is never recorded, but after an
opening word such as "A" it moves on: in SmolLM2, 15 of 324,000 story tokens at positions 1 to 7 have norm 24,370
where the median is 198, and hold a third of all variance. A squared loss or an explained variance over them says
nothing about the rest.
"""

from __future__ import annotations

import numpy as np

FACTOR = 5.0
"""A token is a sink when its norm exceeds this multiple of the median norm (the largest other is 1.4 of it)."""


def sink_limit(values: np.ndarray) -> float:
    """The norm beyond which a token is a sink, from a sample (n, d) of the site's residuals."""
    return FACTOR * float(np.median(np.linalg.norm(values, axis=1)))


def without_sinks(values: np.ndarray, limit: float) -> np.ndarray:
    """The rows of (n, d) whose norm is at most `limit`."""
    kept = np.linalg.norm(values, axis=1) <= limit
    return values if kept.all() else values[kept]
