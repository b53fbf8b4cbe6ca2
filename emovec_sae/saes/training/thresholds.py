"""Thresholds that let k latents fire: where jumprelu starts, and what a batch top-k ends with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

BANDWIDTH = 0.3
"""How near a pre-activation must come to jumprelu's threshold to move it, in multiples of where that starts."""

MARGIN = 3
"""Of each part of a sample, so many times its share of the k * n largest pre-activations is kept."""


def start_threshold(sae: Any, x: torch.Tensor) -> None:
    """Start jumprelu's thresholds where k latents fire, where k is what they are drawn to.

    Adam moves a threshold by at most the learning rate a step; from sae-lens's 0.01 a short run would not arrive.

    Parameters
    ----------
    sae
        A training SAE as it starts; others than jumprelu are left alone.
    x
        Scaled activations, (n, d_in).
    """
    config = sae.cfg
    if config.architecture() != "jumprelu" or config.jumprelu_sparsity_loss_mode != "quadratic":
        return
    at = _threshold(sae, x, config.target_l0)
    sae.threshold.data.fill_(at)
    config.jumprelu_init_threshold = at
    config.jumprelu_bandwidth = sae.bandwidth = BANDWIDTH * at


def set_threshold(sae: Any, x: torch.Tensor) -> bool:
    """Set the threshold of an SAE that was trained by batch top-k so that its mean l0 on `x` is the k it was asked.

    The running threshold of training starts at zero and nears its value over a thousand steps: after a short run far
    too many latents would fire.

    Parameters
    ----------
    sae
        The training SAE, before anything is folded into it.
    x
        Scaled activations, (n, d_in), in random order.

    Returns
    -------
    bool
        Whether the architecture has such a threshold.
    """
    if not hasattr(sae, "topk_threshold"):
        return False
    sae.topk_threshold.fill_(_threshold(sae, x, sae.cfg.k))
    return True


def _threshold(sae: Any, x: torch.Tensor, l0: float) -> float:
    """Between the last pre-activation that shall fire and the first that shall not; never below zero."""
    import torch

    wanted = int(l0 * len(x))
    largest: list[torch.Tensor] = []
    with torch.no_grad():
        for rows in x.split(512):
            _, pre = sae.encode_with_hidden_pre(rows)
            largest.append(pre.flatten().topk(min(pre.numel(), MARGIN * int(l0 * len(rows)) + 1)).values)
    found = torch.cat(largest)
    return float(found.topk(min(wanted + 1, len(found))).values[-2:].double().mean().clamp_min(0.0))
