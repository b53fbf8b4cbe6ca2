"""A pursuit on decoder rows, made into the tables of a decomposition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.decomposition.parts import Parts, at_k, curve_frame, frame_of_ranks
from emovec_sae.decomposition.pursuits import Dictionary, Method, Pursuit
from emovec_sae.decomposition.targets import Curve, project, sizes

if TYPE_CHECKING:
    import torch

    from emovec_sae.saes.coder import SparseCoder


def pursuit_parts(
    emotions: Sequence[str],
    targets: torch.Tensor,
    coder: SparseCoder,
    *,
    method: Method,
    removed: torch.Tensor,
    k: int,
    nulls: Mapping[str, torch.Tensor],
    n_texts: np.ndarray,
    firing_rate: np.ndarray | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Parts:
    """Decompose targets (n, d) on the decoder rows; see `emovec_sae.decomposition.decompose`.

    Where components were removed from the vectors they are removed from the rows too, so that both lie in one space;
    the method sees rows of norm 1 there, and coefficients are on the unit decoder rows all the same.

    Parameters
    ----------
    emotions, targets
        Names and vectors, `removed` taken out of these.
    coder
        The SAE.
    method
        The pursuit.
    removed
        Orthonormal rows, shape (m, d).
    k
        Latents an emotion.
    nulls
        Targets of each null by prefix, any number each.
    n_texts
        Texts of each emotion, shape (n,).
    firing_rate
        Of every latent, shape (d_sae,), where it is known.
    settings
        Carried by the parts.
    """
    at = sizes(k, min(coder.d_sae, coder.d_in - len(removed)))
    rows = project(coder.directions, removed)
    lengths = rows.norm(dim=1)
    # A row that lies in what was removed is all rounding: no row.
    unit = rows * (lengths > 1e-4)[:, None] / lengths.clamp_min(1e-6)[:, None]
    dictionary = Dictionary(unit)
    found = method.run(targets, dictionary, k=at[-1])
    chance = {prefix: method.run(drawn, dictionary, k=at[-1]) for prefix, drawn in nulls.items()}
    curves = {prefix: chance[prefix].curve(drawn, dictionary, at) for prefix, drawn in nulls.items()}
    curve = found.curve(targets, dictionary, at)
    frame, index, coefficients = _ranks(
        emotions, found, targets, coder, lengths=lengths, unit=unit, k=k, firing_rate=firing_rate,
        null_shares=_shares(chance["null"], nulls["null"], unit, k) if nulls else np.zeros((0, k)),
    )  # fmt: skip
    summary, table = _tables(emotions, curve, curves, at, k=k, n_texts=n_texts)
    return Parts(
        frame, summary, table, index, coefficients, targets.cpu().numpy(),
        settings={"says": method.says, **(settings or {})}, firing_rate=firing_rate,
    )  # fmt: skip


def _ranks(
    emotions: Sequence[str],
    found: Pursuit,
    targets: torch.Tensor,
    coder: SparseCoder,
    *,
    lengths: torch.Tensor,
    unit: torch.Tensor,
    k: int,
    firing_rate: np.ndarray | None,
    null_shares: np.ndarray,
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """One row a latent of an emotion, and the table of coefficients."""
    support = found.support[:, :k].cpu().numpy()
    scaled = (found.coefficients(k) / lengths[found.support[:, :k].clamp_min(0)].clamp_min(1e-6)).cpu().numpy()
    shares = _shares(found, targets, unit, k)
    cosines = (targets @ coder.directions.T / targets.norm(dim=1, keepdim=True)).cpu().numpy()
    rates = np.full(coder.d_sae, np.nan) if firing_rate is None else firing_rate
    index = np.unique(support[support >= 0])
    coefficients = np.zeros((len(emotions), len(index)), dtype=np.float32)
    ranks: list[pd.DataFrame] = []
    for e, emotion in enumerate(emotions):
        latents = support[e][support[e] >= 0]  # a method that ended early chose fewer
        taken = slice(0, len(latents))
        coefficients[e, np.searchsorted(index, latents)] = scaled[e, taken]
        nothing = np.full(len(latents), np.nan)
        ranks.append(
            frame_of_ranks(
                emotion=emotion, latents=latents, coefficients=scaled[e, taken], shares=shares[e, taken],
                low=nothing, high=nothing, null_shares=null_shares[:, taken], decoder_cosine=cosines[e, latents],
                firing_rate=rates[latents], cohens_d=nothing,
            )
        )  # fmt: skip
    return pd.concat(ranks, ignore_index=True), index, coefficients


def _tables(
    emotions: Sequence[str],
    curve: Curve,
    nulls: Mapping[str, Curve],
    at: tuple[int, ...],
    *,
    k: int,
    n_texts: np.ndarray,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Summary and curves: what pursuit does not reach is all error; it has no intervals and no identity to check."""
    column = at.index(k)
    unknown = dict.fromkeys(("error_low", "error_high", "other_low", "other_high", "identity_error"), float("nan"))
    summary: list[dict[str, object]] = []
    curves: list[pd.DataFrame] = []
    for e, emotion in enumerate(emotions):
        own = curve.rows(slice(e, e + 1))
        curves.append(curve_frame(emotion, at, own, nulls))
        error = 1 - float(own.quantities["share"][0, column])
        shares = {"error_share": error, "other_share": 0.0, **unknown}
        summary.append({"emotion": emotion, **shares, **at_k(own, nulls, column), "n_texts": int(n_texts[e])})
    return pd.DataFrame(summary), pd.concat(curves, ignore_index=True)


def _shares(found: Pursuit, targets: torch.Tensor, unit: torch.Tensor, k: int) -> np.ndarray:
    """``c_j <d_j, v> / |v|^2`` by rank, shape (B, k)."""
    squared = targets.square().sum(1, keepdim=True).clamp_min(1e-30)
    along = (unit[found.support[:, :k].clamp_min(0)] @ targets[:, :, None])[:, :, 0]
    return (found.coefficients(k) * along / squared).cpu().numpy()
