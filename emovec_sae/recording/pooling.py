"""Pool a batch's activations on the device: mean over counted tokens, the last one, or every one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


def pool_batch(values: Tensor, counted: Tensor, averaged: Tensor, pools: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Pool the activations of one site.

    Parameters
    ----------
    values
        (batch, sequence, d_model) float32.
    counted
        (batch, sequence) bool: neither padding, nor the first token, nor special.
    averaged
        (batch, sequence) bool: those of them from the offset on.
    pools
        Of ``mean``, ``last``, ``none``.

    Returns
    -------
    dict
        Pool -> float32: ``mean`` and ``last`` (batch, d_model), ``none`` (counted tokens, d_model) in text order.
    """
    import torch

    found: dict[str, np.ndarray] = {}
    if "mean" in pools:
        weights = averaged.float()
        total = torch.einsum("bsd,bs->bd", values, weights)
        if not bool(
            total.isfinite().all()
        ):  # infinity times 0: a token that does not count, such as the sink, spoils it
            total = torch.einsum("bsd,bs->bd", values.masked_fill(~averaged[..., None], 0.0), weights)
        found["mean"] = (total / weights.sum(dim=1, keepdim=True)).cpu().numpy()
    if "last" in pools:
        index = torch.where(counted, torch.arange(counted.shape[1], device=counted.device), -1).amax(dim=1)
        found["last"] = values[torch.arange(len(values), device=values.device), index].cpu().numpy()
    if "none" in pools:
        found["none"] = values[counted].cpu().numpy()
    return found
