"""Take gradients at a site: of scores that are read further up, with respect to the stream there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emovec_sae.errors import ModelError
from emovec_sae.models.model import Model
from emovec_sae.models.seam import Prefix, envoy_of, read_value, write_value
from emovec_sae.sites import Site

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Gradients:
    """Scores and their gradients.

    Attributes
    ----------
    scores
        Shape (batch, n), float32.
    at_site
        Gradient of each score with respect to the stream at the site, shape (n, batch, sequence, d_model), float32.
    """

    scores: Tensor
    at_site: Tensor


def gradients(
    model: Model,
    prefix: Prefix,
    *,
    site: Site,
    hidden: Tensor,
    score: Callable[[Tensor], Tensor],
    read: Site | None = None,
) -> Gradients:
    """Run the blocks above a site from given states, and differentiate scores with respect to them.

    Parameters
    ----------
    model
        The model; its weights get no gradients.
    prefix
        What `run_prefix` gave below `site`.
    site
        Where the gradient is taken.
    hidden
        The stream at the site, shape (batch, sequence, d_model): as it was read, or something else.
    score
        Maps the states that were read, (batch, sequence, d_model), to scores (batch, n). A row's scores may depend on
        that row alone.
    read
        A later site that the score reads; None means the states after the last norm.

    Returns
    -------
    Gradients

    Raises
    ------
    ModelError
        If the weights are elsewhere, or `read` does not lie above `site`.
    """
    import torch

    if model.remote:
        raise ModelError(f"the weights of '{model.name}' are elsewhere (NDIF): no gradient can be taken there")
    if read is not None:
        model.blocks.path(read)
        if not site < read:
            raise ModelError(f"the score reads {read}, which does not lie above {site}, where the gradient is taken")
    leaf = hidden.detach().float().requires_grad_(True)
    with torch.enable_grad():
        states = _run(model, prefix, site, leaf.to(hidden.dtype), read)
        scores = score(states)
        found: list[Tensor] = []
        for column in range(scores.shape[1]):
            last = column == scores.shape[1] - 1
            found.append(torch.autograd.grad(scores[:, column].sum(), leaf, retain_graph=not last)[0])
    return Gradients(scores.detach().float(), torch.stack(found))


def _run(model: Model, prefix: Prefix, site: Site, value: Tensor, read: Site | None) -> Tensor:
    """The states that a score reads, with the stream at the site replaced by `value`."""
    import nnsight

    whole = site.stream == "resid_post"
    stream = value if whole else prefix.hidden
    below = site.layer if whole else prefix.layer
    with model.net.trace(prefix.batch.inputs()) as tracer:
        kept = nnsight.save({})
        for layer in range(below + 1):
            envoy_of(model, model.blocks.layers[layer]).skip(stream)
        if not whole:
            write_value(model, site, value)
        if read is None:
            kept["read"] = envoy_of(model, model.blocks.norm).output
        else:
            kept["read"] = read_value(model, read)
        tracer.stop()
    return kept["read"]
