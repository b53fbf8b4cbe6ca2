"""Head-room: whether a battery can move at all on a model, before anything is made of how it moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from emovec_sae.stats import proportion
from emovec_sae.stats.bootstrap import Interval

FLOOR, CEILING = 0.05, 0.95
"""Shares of items that pick the behaviour beyond which a battery has no head-room."""
CONSISTENT = 0.5
"""Share of items that pick one answer in both orders below which the position decides more than the answer."""


@dataclass(frozen=True)
class Headroom:
    """What the unedited model does with a battery.

    Attributes
    ----------
    rate
        Share of items on which the behaviour is the likelier answer, both orders together (Wilson).
    probability
        Mean probability of the behaviour against the other answer.
    consistent
        Share of items that pick the same answer in both orders (Wilson).
    log_odds, spread
        Mean and deviation over items of the log-odds of the behaviour, nats.
    bias, bias_size
        Mean log-odds of the answer that is listed first, and the mean of its size, nats.
    """

    rate: Interval
    probability: float
    consistent: Interval
    log_odds: float
    spread: float
    bias: float
    bias_size: float

    @classmethod
    def of(cls, log_odds: np.ndarray, bias: np.ndarray) -> Headroom:
        """From log-odds of the behaviour and of the first place, (items,) each."""
        return cls(
            rate=proportion(log_odds > 0),
            probability=float(expit(log_odds).mean()),
            consistent=proportion(np.abs(log_odds) > np.abs(bias)),
            log_odds=float(log_odds.mean()),
            spread=float(log_odds.std()),
            bias=float(bias.mean()),
            bias_size=float(np.abs(bias).mean()),
        )

    @property
    def problem(self) -> str:
        """Why the battery is not interpreted; empty where it may be."""
        share, n = self.rate.value, self.rate.n
        if share < FLOOR or share > CEILING:
            end = "floor" if share < FLOOR else "ceiling"
            return f"at {end}: the unedited model picks the behaviour on {share:.0%} of {n} items"
        if self.consistent.value < CONSISTENT:
            return f"position decides: only {self.consistent.value:.0%} of {n} items pick one answer in both orders"
        return ""

    def facts(self) -> dict[str, Any]:
        """The summary for machines."""
        numbers = {"log_odds": self.log_odds, "spread": self.spread, "bias": self.bias, "bias_size": self.bias_size}
        told = {"rate": self.rate.as_dict(), "probability": self.probability, "consistent": self.consistent.as_dict()}
        return {**told, **numbers, "interpreted": not self.problem, "problem": self.problem or None}

    def __str__(self) -> str:
        told = f"behaviour on {self.rate.value:.0%}, one answer in both orders on {self.consistent.value:.0%}"
        return f"{told} of {self.rate.n} items" + (f"; NOT INTERPRETED, {self.problem}" if self.problem else "")
