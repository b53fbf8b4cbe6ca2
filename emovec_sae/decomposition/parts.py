"""What a method hands to the result: tables of ranks, of sums and of curves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from emovec_sae.decomposition.targets import Curve, null_columns

DENSE = 0.1
"""A latent that fires on more than this share of the tokens is marked dense: such latents top every emotion."""


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
    """

    frame: pd.DataFrame
    summary: pd.DataFrame
    curve: pd.DataFrame
    index: np.ndarray
    coefficients: np.ndarray
    vectors: np.ndarray


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
) -> pd.DataFrame:
    """The rows of one emotion; `null_shares` (R, k) are what random targets reach at the same rank."""
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
        }
    )


def curve_frame(emotion: str, at: tuple[int, ...], curve: Curve, random: Curve, permuted: Curve) -> pd.DataFrame:
    """One row a size and quantity: value, and mean and band of both nulls."""
    rows = [
        {
            "emotion": emotion,
            "k": size,
            "quantity": name,
            "value": float(values[0, column]),
            **null_columns(random.quantities[name][:, column], "null"),
            **null_columns(permuted.quantities[name][:, column], "permuted"),
        }
        for name, values in curve.quantities.items()
        for column, size in enumerate(at)
    ]
    return pd.DataFrame(rows)


def at_k(curve: Curve, random: Curve, permuted: Curve, column: int) -> dict[str, float]:
    """The summary's columns of one size: r2_k, cosine_k, and the nulls of the cosine."""
    return {
        "r2_k": float(curve.r2[0, column]),
        "cosine_k": float(curve.cosine[0, column]),
        **null_columns(random.cosine[:, column], "null"),
        **null_columns(permuted.cosine[:, column], "permuted"),
    }
