"""The tables that charts draw of a decomposition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.cluster import hierarchy

if TYPE_CHECKING:
    from emovec_sae.decomposition.result import Decomposition


def name_latent(latent: int, labels: Mapping[int, str] | None) -> str:
    """``L1234``, followed by what it is known for."""
    words = (labels or {}).get(latent)
    return f"L{latent}  {words}" if words else f"L{latent}"


def composition_frame(
    found: Decomposition, emotions: Sequence[str], *, k: int | None, labels: Mapping[int, str] | None
) -> pd.DataFrame:
    """Rows of the composition chart; the shares of an emotion sum to 1."""
    rows: list[dict[str, Any]] = []
    for emotion in emotions:
        about = found.summary.iloc[found.row(emotion)]
        own = found.ranks[found.ranks["emotion"] == emotion].sort_values("rank")
        shown, hidden = own.head(found.k if k is None else k), own.iloc[found.k if k is None else k :]
        n_texts = int(about["n_texts"])
        for row in shown.to_dict("records"):
            rows.append(
                {
                    "emotion": emotion,
                    "kind": "latent",
                    "label": name_latent(int(row["latent"]), labels),
                    "n_texts": n_texts,
                }
                | {name: row[name] for name in ("latent", "share", "low", "high", "null_low", "null_high")}
                | {name: row.get(name, np.nan) for name in ("permuted_low", "permuted_high")}  # newer than some files
            )
        # Sums of more latents than the interval was made for have none.
        whole = len(hidden) == 0
        sums = (
            ("other latents", float(about["other_share"] + hidden["share"].sum()), ("other_low", "other_high"), whole),
            ("error", float(about["error_share"]), ("error_low", "error_high"), True),
        )
        for kind, share, ends, known in sums:
            low, high = (float(about[end]) if known else np.nan for end in ends)
            rows.append(
                {"emotion": emotion, "kind": kind, "label": kind, "n_texts": n_texts, "latent": -1, "share": share}
                | {"low": low, "high": high, "null_low": np.nan, "null_high": np.nan}
                | {"permuted_low": np.nan, "permuted_high": np.nan}
            )
    columns = ["emotion", "kind", "latent", "label", "share", "low", "high", "null_low", "null_high", "n_texts"]
    columns += ["permuted_low", "permuted_high"]
    return pd.DataFrame(rows)[columns]


def latents_frame(found: Decomposition, *, n: int, labels: Mapping[int, str] | None) -> pd.DataFrame:
    """Rows of the heat map: coefficients in units of each vector's norm, both sides clustered."""
    best = found.ranks.groupby("latent")["share"].max().nlargest(n).index.to_numpy()
    best = np.sort(best)
    table = found.coefficients[:, np.searchsorted(found.index, best)] / np.linalg.norm(found.vectors, axis=1)[:, None]
    return heat_rows(table, found.emotions, best, labels)


def heat_rows(
    table: np.ndarray, emotions: Sequence[str], latents: np.ndarray, labels: Mapping[int, str] | None
) -> pd.DataFrame:
    """Rows of `emovec_sae.charts.latents_by_emotion` from a matrix of emotions (rows) and latents, both clustered."""
    by_emotion, by_latent = _order(table), _order(table.T)
    return pd.DataFrame(
        {
            "emotion": np.repeat(np.array(emotions, dtype=object), len(latents)),
            "latent": np.tile(latents, len(emotions)),
            "label": np.tile([name_latent(int(latent), labels) for latent in latents], len(emotions)),
            "delta": table.reshape(-1).astype(float),
            "emotion_order": np.repeat(by_emotion, len(latents)),
            "latent_order": np.tile(by_latent, len(emotions)),
        }
    )


def _order(table: np.ndarray) -> np.ndarray:
    """Place of each row when like rows stand together."""
    if len(table) < 3:
        return np.arange(len(table))
    leaves = hierarchy.leaves_list(hierarchy.linkage(table, "average", optimal_ordering=len(table) <= 200))
    places = np.empty(len(table), dtype=int)
    places[leaves] = np.arange(len(table))
    return places
