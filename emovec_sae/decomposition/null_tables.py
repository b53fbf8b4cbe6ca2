"""Tables of a decomposition beside its nulls: by emotion, over emotions, and as curves to draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.decomposition.nulls import NULLS
from emovec_sae.errors import ConfigError, suggest
from emovec_sae.stats import bootstrap_mean

if TYPE_CHECKING:
    from emovec_sae.decomposition.result import Decomposition

KEYS = ["emotion", "k", "quantity", "value"]
COLUMNS = [*KEYS, "null", "null_mean", "null_low", "null_high", "excess", "excess_low", "excess_high", "p"]
"""Columns of `null_frame`."""
OVER_EMOTIONS = [
    "k", "quantity", "null", "value", "null_mean", "excess", "excess_low", "excess_high", "n", "beyond", "p_floor",
]  # fmt: skip
"""Columns of `excess_frame`."""
ALPHA = 0.05


def null_frame(curves: pd.DataFrame) -> pd.DataFrame:
    """One row an emotion, k, quantity and null that was drawn; the interval of the excess is over its draws.

    Parameters
    ----------
    curves
        `Decomposition.curves`.
    """
    parts: list[pd.DataFrame] = []
    for prefix, name in NULLS.items():
        columns = {f"{prefix}_{end}": f"null_{end}" for end in ("mean", "low", "high")} | {f"{prefix}_p": "p"}
        part = curves[[*KEYS, *columns]].rename(columns=columns).assign(null=name)
        parts.append(part[part["null_mean"].notna()])
    table = pd.concat(parts, ignore_index=True)
    table["excess"] = table["value"] - table["null_mean"]
    table["excess_low"] = table["value"] - table["null_high"]
    table["excess_high"] = table["value"] - table["null_low"]
    return table[COLUMNS]


def excess_frame(curves: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """One row a k, quantity and null: means over emotions, and the excess with its interval over emotions.

    Returns
    -------
    pd.DataFrame
        k, quantity, null, value, null_mean, excess with excess_low and excess_high (95 %, emotions resampled; a t
        interval below 20 of them), n emotions, beyond (share of them with p at most 0.05), p_floor (smallest p of any
        emotion that was seen or, without one, that the draws allow).
    """
    table = null_frame(curves)
    rows: list[dict[str, Any]] = []
    for (k, quantity, null), own in table.groupby(["k", "quantity", "null"], sort=False):
        about = bootstrap_mean(own["excess"].to_numpy(), seed=seed)
        rows.append(
            {"k": k, "quantity": quantity, "null": null}
            | {name: float(own[name].mean()) for name in ("value", "null_mean")}
            | {"excess": about.value, "excess_low": about.low, "excess_high": about.high, "n": about.n}
            | {"beyond": float((own["p"] <= ALPHA).mean()), "p_floor": float(own["p"].min())}
        )
    return pd.DataFrame(rows, columns=OVER_EMOTIONS)


def facts_of(found: Decomposition, *, seed: int = 0) -> dict[str, Any]:
    """The answer of the command line.

    Returns
    -------
    dict
        method, k, emotions, error_share, identity_error, and for r2, cosine and count at k ``{value, low, high, n}``
        over emotions; under ``null`` one entry a null with, for each of these, its mean, the excess with its interval
        over emotions, and the share of emotions beyond it.
    """
    at = found.curves[found.curves["k"] == found.k]
    told: dict[str, Any] = {"method": found.method, "k": found.k, "emotions": len(found)}
    worst = found.summary["identity_error"].max()
    told["error_share"] = float(found.summary["error_share"].mean())
    told["identity_error"] = None if np.isnan(worst) else float(worst)
    for name in ("r2", "cosine", "count"):
        told[name] = bootstrap_mean(found.summary[f"{name}_k"].to_numpy(), seed=seed).as_dict()
    table = excess_frame(at, seed=seed)
    table = table[table["quantity"].isin(["r2", "cosine", "count"])]
    chance: dict[str, Any] = {}
    for row in table.to_dict("records"):
        ends = {"value": row["excess"], "low": row["excess_low"], "high": row["excess_high"], "n": row["n"]}
        ends = {name: None if pd.isna(end) else end for name, end in ends.items()}
        one = {"mean": row["null_mean"], "excess": ends, "beyond": row["beyond"]}
        chance.setdefault(str(row["null"]), {})[str(row["quantity"])] = one
    return told | {"null": chance or None}


def curve_rows(curves: pd.DataFrame, *, method: str, quantity: str, emotion: str | None, seed: int) -> pd.DataFrame:
    """Rows for `emovec_sae.charts.curves`: the method and each null against k, for one emotion or the mean of all.

    Raises
    ------
    ConfigError
        If the curves do not have the quantity.
    """
    names = list(dict.fromkeys(curves["quantity"]))
    if quantity not in names:
        raise ConfigError(f"no curve of '{quantity}'{suggest(quantity, names)}; there are {', '.join(names)}")
    own = curves[curves["quantity"] == quantity]
    if emotion is not None:
        own = own[own["emotion"] == emotion]
    rows: list[dict[str, Any]] = []
    for k, at in own.groupby("k"):
        about = bootstrap_mean(at["value"].to_numpy(), seed=seed)
        base = {"x": k, "n": len(at), "null": np.nan}
        rows.append({"series": method, **base, "value": about.value, "low": about.low, "high": about.high})
        for prefix, name in NULLS.items():
            if at[f"{prefix}_mean"].notna().any():
                ends = {end: float(at[f"{prefix}_{end}"].mean()) for end in ("low", "high")}
                rows.append({"series": name, **base, "value": float(at[f"{prefix}_mean"].mean()), **ends})
    return pd.DataFrame(rows)
