"""What chance gives: the names of the nulls, and a value held against its draws."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

NULLS = {
    "null": "random target",
    "covariance": "covariance target",
    "permuted": "permuted labels",
    "rotated": "rotated dictionary",
    "shuffled": "shuffled rows",
}
"""Prefix of a null's columns -> its name in tables.

- ``random target``: isotropic targets of the vector's norm; `contrast` keeps the emotion's Deltas.
- ``covariance target``: targets with the covariance of the texts' mean residuals, scaled to the vector's norm.
- ``permuted labels``: vectors that the whole pipeline gives when emotions are permuted within groups.
- ``rotated dictionary``: one random rotation turns all decoder rows, so that the emotions keep their angles.
- ``shuffled rows`` (`contrast` only): the rows of live latents are dealt out anew while each Delta stays with its
  latent, so that the dictionary's lean towards the vector stays and the pairing goes.
"""
SMALLER = ("count",)
"""Quantities of which a smaller value says more: few parts hold the vector."""
LEVEL = 0.95
"""Width of the bands."""


def against_nulls(value: float, draws: Mapping[str, np.ndarray], *, quantity: str) -> dict[str, object]:
    """A value beside what chance gives.

    Parameters
    ----------
    value
        What was found.
    draws
        Prefixes of `NULLS` -> values of that null's draws, shape (n,); a null that was not drawn may be absent.
    quantity
        What it is; of `SMALLER` the null with the smallest mean is the hardest.

    Returns
    -------
    dict
        For every prefix P of `NULLS` P_mean, P_low, P_high (95 % of the draws) and P_p (one-sided, with the floor
        1 / (n + 1)), NaN where it was not drawn; and for the hardest null its name, the excess of the value over its
        mean, and excess_low and excess_high, the excess over its upper and lower end: the interval is one over draws
        of the null, and above 0 when fewer than 2.5 % of them reach the value.
    """
    found: dict[str, object] = {}
    for prefix in NULLS:
        found |= null_columns(value, draws.get(prefix, np.zeros(0)), prefix, smaller=quantity in SMALLER)
    means = {prefix: float(values.mean()) for prefix, values in draws.items() if len(values)}
    if not means:
        return found | {"hardest": "", **dict.fromkeys(("excess", "excess_low", "excess_high"), float("nan"))}
    hardest = (min if quantity in SMALLER else max)(means, key=means.__getitem__)
    low, high = np.quantile(draws[hardest], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    ends = {"excess_low": value - float(high), "excess_high": value - float(low)}
    return found | {"hardest": NULLS[hardest], "excess": value - means[hardest], **ends}


def null_columns(value: float, draws: np.ndarray, prefix: str, *, smaller: bool = False) -> dict[str, object]:
    """Mean, 95 % band and one-sided p of a value among null draws (n,); NaN without draws."""
    if len(draws) == 0:
        return {f"{prefix}_{name}": float("nan") for name in ("mean", "low", "high", "p")}
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    reached = int((draws <= value).sum() if smaller else (draws >= value).sum())
    ends = {"mean": float(draws.mean()), "low": float(low), "high": float(high), "p": (reached + 1) / (len(draws) + 1)}
    return {f"{prefix}_{name}": number for name, number in ends.items()}
