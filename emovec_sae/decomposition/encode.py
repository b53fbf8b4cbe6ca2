"""Encoding a direction, which is wrong: run only when asked for twice, and then with what shows that it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.decomposition.pursuits import Dictionary, Method, Pursuit
from emovec_sae.decomposition.pursuits.pursuit import least_squares
from emovec_sae.decomposition.targets import project
from emovec_sae.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from emovec_sae.saes.coder import SparseCoder

REFUSAL = (
    "method 'encode' is refused: a difference vector lies far below the norm of activations, so biases and "
    "thresholds decide which latents fire, and the negative coefficients that it needs cannot exist behind a "
    "ReLU (Mayne et al. 2024, arXiv 2411.08790); use 'contrast' or 'omp', or ask twice (allow_encode=True, "
    "--yes-encode) to see how wrong it is"
)
COLUMNS = ("active", "active_zero", "active_minus", "overlap_zero", "overlap_minus", "negative_wanted", "negative")
"""What `diagnose` adds to the summary."""


def check_allowed(*, allowed: bool) -> None:
    """Refuse unless asked twice.

    Raises
    ------
    ConfigError
        If it was not.
    """
    if not allowed:
        raise ConfigError(REFUSAL)


def encode_method(coder: SparseCoder, removed: torch.Tensor) -> Method:
    """The SAE's encoder on a direction as if it were an activation: active latents by falling coefficient."""
    lengths = project(coder.directions, removed).norm(dim=1)

    def _solve(targets: torch.Tensor, dictionary: Dictionary, k: int) -> Pursuit:
        import torch

        best = coder.encode(targets).topk(k, dim=1)
        there = best.values > 0
        support = torch.where(there, best.indices, -1)
        found = best.values * there * lengths[best.indices]
        return Pursuit(support, found[:, None].expand(-1, k, -1) * torch.ones(k, k).tril().to(found))

    return Method("encode", "the encoder applied to a direction (wrong, see the overlaps)", _solve, least_squares)


def diagnose(targets: torch.Tensor, coder: SparseCoder, *, signed: np.ndarray, found: np.ndarray) -> pd.DataFrame:
    """What gives the encoder away, one row a target.

    Parameters
    ----------
    targets
        The directions, shape (n, d).
    coder
        The SAE.
    signed, found
        Coefficients of each target by `omp` and by `encode`, shapes (n, m) and (n, l).

    Returns
    -------
    pd.DataFrame
        active (latents that fire on v), active_zero and active_minus (on 0 and on -v), overlap_zero and overlap_minus
        (Jaccard of active(v) with each of these: near 1 the vector did not decide what fires), negative_wanted (share
        of the coefficients of `omp` that are negative), negative (of those of `encode`).
    """
    import torch

    own = coder.encode(targets) != 0
    zero = coder.encode(torch.zeros_like(targets[:1])) != 0
    minus = coder.encode(-targets) != 0
    table: dict[str, Any] = {
        "active": own.sum(1).cpu().numpy(),
        "active_zero": np.full(len(targets), int(zero.sum())),
        "active_minus": minus.sum(1).cpu().numpy(),
        "overlap_zero": _jaccard(own, zero),
        "overlap_minus": _jaccard(own, minus),
        "negative_wanted": _negative(signed),
        "negative": _negative(found),
    }
    return pd.DataFrame(table)[list(COLUMNS)]


def _jaccard(one: torch.Tensor, other: torch.Tensor) -> np.ndarray:
    """Overlap of sets of latents; 1 where both are empty: nothing tells them apart."""
    both, either = (one & other).sum(1).double(), (one | other).sum(1).double()
    return ((both + (either == 0)) / either.clamp_min(1)).cpu().numpy()


def _negative(coefficients: np.ndarray) -> np.ndarray:
    """Share of the non-zero coefficients of each row that are negative; 0 where there is none."""
    return (coefficients < 0).sum(1) / np.maximum((coefficients != 0).sum(1), 1)
