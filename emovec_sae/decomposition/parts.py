"""What a method hands to the result: tables of ranks, of sums and of curves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from emovec_sae.decomposition.nulls import against_nulls
from emovec_sae.decomposition.targets import Curve

DENSE = 0.1
"""A latent that fires on more than this share of the tokens is marked dense: such latents top every emotion."""
MORE = (
    "auroc", "emotion_rate", "text_rate", "emotion_text_rate", "z", "p", "p_max_t", "q",
    "permuted_low", "permuted_high",
)  # fmt: skip
"""Columns of the ranks that only a method which sees the texts can fill; NaN elsewhere."""


@dataclass(frozen=True, eq=False)
class Parts:
    """The work of a method.

    Attributes
    ----------
    frame
        One row a latent of an emotion, by rank; see `Decomposition.frame`.
    summary
        One row an emotion.
    curve
        One row an emotion, size and quantity.
    index
        Latents that occur in `frame`, ascending, shape (m,).
    coefficients
        Coefficient of every emotion on these, shape (n, m).
    vectors
        What was decomposed, shape (n, d).
    interval
        What low and high are, for captions.
    settings
        The choices that the method was run with.
    firing_rate
        Share of the tokens on which each latent of the SAE fires, shape (d_sae,), or None where no text was seen.
    tests
        One row a latent that passed its test in an emotion, whether it is among the ranks or not.
    """

    frame: pd.DataFrame
    summary: pd.DataFrame
    curve: pd.DataFrame
    index: np.ndarray
    coefficients: np.ndarray
    vectors: np.ndarray
    interval: str = "no intervals"
    settings: Mapping[str, Any] = field(default_factory=dict)
    firing_rate: np.ndarray | None = None
    tests: pd.DataFrame | None = None


def frame_of_ranks(
    *,
    emotion: str,
    latents: np.ndarray,
    coefficients: np.ndarray,
    shares: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    null_shares: np.ndarray,
    decoder_cosine: np.ndarray,
    firing_rate: np.ndarray,
    cohens_d: np.ndarray,
    more: Mapping[str, np.ndarray] | None = None,
) -> pd.DataFrame:
    """The rows of one emotion; `null_shares` (R, k) are what chance reaches at the same rank; `more` has `MORE`."""
    nothing = np.full(len(latents), np.nan)
    null_low, null_high = np.quantile(null_shares, [0.025, 0.975], axis=0) if len(null_shares) else (nothing, nothing)
    rates = np.asarray(firing_rate, dtype=float)
    # Without tokens nobody knows whether a latent is dense: missing, not False.
    dense = pd.array(rates > DENSE, dtype="boolean")
    dense[np.isnan(rates)] = pd.NA
    return pd.DataFrame(
        {
            "emotion": emotion,
            "rank": np.arange(1, len(latents) + 1),
            "latent": np.asarray(latents, dtype=np.int64),
            "coefficient": np.asarray(coefficients, dtype=float),
            "share": np.asarray(shares, dtype=float),
            "low": low,
            "high": high,
            "null_low": null_low,
            "null_high": null_high,
            "decoder_cosine": np.asarray(decoder_cosine, dtype=float),
            "firing_rate": rates,
            "dense": dense,
            "cohens_d": np.asarray(cohens_d, dtype=float),
            **{name: np.asarray((more or {}).get(name, nothing), dtype=float) for name in MORE},
        }
    )


def curve_frame(emotion: str, at: tuple[int, ...], curve: Curve, nulls: Mapping[str, Curve]) -> pd.DataFrame:
    """One row a size and quantity: the value of the one target of `curve`, and what its nulls give."""
    rows = [
        {
            "emotion": emotion,
            "k": size,
            "quantity": name,
            "value": float(values[0, column]),
            **against_nulls(float(values[0, column]), _column(nulls, name, column), quantity=name),
        }
        for name, values in curve.quantities.items()
        for column, size in enumerate(at)
    ]
    return pd.DataFrame(rows)


def at_k(curve: Curve, nulls: Mapping[str, Curve], column: int) -> dict[str, object]:
    """The summary's columns of one size: r2_k, cosine_k, count_k, and the nulls and the excess of the cosine."""
    values = {f"{name}_k": float(curve.quantities[name][0, column]) for name in ("r2", "cosine", "count")}
    return {**values, **against_nulls(values["cosine_k"], _column(nulls, "cosine", column), quantity="cosine")}


def _column(nulls: Mapping[str, Curve], quantity: str, column: int) -> dict[str, np.ndarray]:
    """The draws of each null for one quantity at one size."""
    return {prefix: null.quantities[quantity][:, column] for prefix, null in nulls.items() if len(null)}
