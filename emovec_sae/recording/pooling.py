"""Pool a batch's activations on the device: mean, maximum, last or marked tokens, or every one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Tokens(NamedTuple):
    """Which tokens of a batch are read, (batch, sequence) bool each.

    Attributes
    ----------
    kept
        Neither padding, nor the first token, nor special; in chat format, where reading was asked for.
    averaged
        Those of them from the offset on.
    spanned
        Those of them inside a marked span.
    """

    kept: Tensor
    averaged: Tensor
    spanned: Tensor


def pool_batch(values: Tensor, tokens: Tokens, pools: tuple[str, ...]) -> dict[str, Tensor]:
    """Pool the activations of one site.

    Parameters
    ----------
    values
        (batch, sequence, d_model) float32.
    tokens
        Which of them are read.
    pools
        Of ``mean``, ``last``, ``max``, ``span``, ``none``.

    Returns
    -------
    dict
        Pool -> float32: (batch, d_model); ``none`` (kept tokens, d_model) in text order, on the CPU. ``mean``, ``max``
        and ``last`` of a text without such a token are not meaningful; the caller has made sure that each has one.
    """
    import torch

    kept, averaged, spanned = tokens
    found: dict[str, Tensor] = {}
    if "mean" in pools:
        found["mean"] = _mean(values, averaged)
    if "last" in pools:
        index = torch.where(kept, torch.arange(kept.shape[1], device=kept.device), -1).amax(dim=1)
        found["last"] = values[torch.arange(len(values), device=values.device), index]
    if "max" in pools:
        found["max"] = values.masked_fill(~averaged[..., None], -torch.inf).amax(dim=1)
    if "span" in pools:
        found["span"] = _mean(values, spanned)
    if "none" in pools:
        found["none"] = values[kept].cpu()  # all tokens of a shard may be more than a GPU wants to keep
    return found


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    import torch

    weights = mask.float()
    total = torch.einsum("bsd,bs->bd", values, weights)
    # infinity times 0: a token that does not count, such as the sink, spoils it; to look would make a GPU wait
    if total.device.type != "cpu" or not bool(total.isfinite().all()):
        total = torch.einsum("bsd,bs->bd", values.masked_fill(~mask[..., None], 0.0), weights)
    return total / weights.sum(dim=1, keepdim=True)
