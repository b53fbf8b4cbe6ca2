"""Gradients of one score at many sites, in one run and one pass back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from emovec_sae.errors import ModelError
from emovec_sae.models.model import Model
from emovec_sae.models.seam import envoy_of, forward, read_value, write_value
from emovec_sae.models.tokens import Batch
from emovec_sae.sites import Site

if TYPE_CHECKING:
    from torch import Tensor


def gradient_map(
    model: Model, batch: Batch, sites: Iterable[Site], score: Callable[[Tensor], Tensor]
) -> dict[Site, Tensor]:
    """Gradient of a score with respect to the stream at each of the sites.

    Parameters
    ----------
    model
        The model; its weights get no gradients.
    batch
        Right-padded tokens.
    sites
        Where the gradient is taken.
    score
        Maps the states after the last norm, (batch, sequence, d_model), to one score a row, (batch,).

    Returns
    -------
    dict
        By site, (batch, sequence, d_model) float32; what does not reach the score has gradient 0.

    Raises
    ------
    ModelError
        If the weights are elsewhere, or a site does not exist.
    """
    import nnsight
    import torch

    if model.remote:
        raise ModelError(f"the weights of '{model.name}' are elsewhere (NDIF): no gradient can be taken there")
    wanted = sorted(set(sites))
    for site in wanted:
        model.blocks.path(site)
    entry = Site("resid_pre", 0)
    start = forward(model, batch, read=[entry]).values[entry].detach().requires_grad_(True)
    with torch.enable_grad():
        with model.net.trace(batch.inputs()) as tracer:
            kept = nnsight.save({})
            write_value(model, entry, start)
            for site in wanted:
                if site != entry:
                    kept[site] = read_value(model, site)
            kept["final"] = envoy_of(model, model.blocks.norm).output
            tracer.stop()
        scores = score(kept["final"]).sum()
        places = [start if site == entry else kept[site] for site in wanted]
        found = torch.autograd.grad(scores, places, materialize_grads=True)
    return {site: one.float() for site, one in zip(wanted, found, strict=True)}
