"""Check a loaded model: every site gives (batch, sequence, d_model), and a write there changes the logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emovec_sae.errors import ModelError
from emovec_sae.models.model import Model
from emovec_sae.models.seam import forward
from emovec_sae.models.tokens import Batch
from emovec_sae.sites import Site

if TYPE_CHECKING:
    from torch import Tensor

_ROWS = 96
_LENGTH = 5


@dataclass(frozen=True)
class _Nudge:
    """Add a multiple of a fixed vector to one row, so that one pass tries a site per row."""

    site: Site
    row: int
    positions: str = "all"

    def __call__(self, hidden: Tensor, mask: Tensor) -> Tensor:
        import torch

        found = hidden.clone()
        ramp = torch.linspace(-1, 1, hidden.shape[-1], device=hidden.device, dtype=hidden.dtype)
        found[self.row] += ramp * hidden[self.row].float().norm(dim=-1).median().to(hidden.dtype).clamp(min=1.0)
        return found


def check_sites(model: Model, sites: Sequence[Site] | None = None) -> None:
    """Read every site of a model and write to it, on a few tokens.

    Parameters
    ----------
    model
        The model.
    sites
        Sites to check; None means all.

    Raises
    ------
    ModelError
        If a site's module gives another shape, or a write there leaves the logits unchanged, or the head that scoring
        uses does not give the model's own logits.
    """
    every = sites or [Site(stream, layer) for layer in range(model.n_layers) for stream in model.blocks.streams()]
    _check_head(model)
    for first in range(0, len(every), _ROWS):
        _check_some(model, sorted(every[first : first + _ROWS]))


def _batch(model: Model, rows: int) -> Batch:
    import torch

    ids = torch.arange(_LENGTH, device=model.device).remainder(model.config.vocab_size).repeat(rows, 1)
    return Batch(ids, torch.ones_like(ids, dtype=torch.bool))


def _check_some(model: Model, sites: Sequence[Site]) -> None:
    import torch

    batch = _batch(model, len(sites))
    outcome = forward(model, batch, read=sites, edits=[_Nudge(site, row) for row, site in enumerate(sites)], final=True)
    wanted = (len(sites), _LENGTH, model.d_model)
    for site in sites:
        got = tuple(outcome.values[site].shape)
        if got != wanted:
            raise ModelError(
                f"site '{site}' of '{model.name}' (module '{model.blocks.path(site)}') gives shape {got}, not {wanted}"
            )
    plain = forward(model, batch, final=True).final
    if outcome.final is None or plain is None:
        raise ModelError(f"'{model.name}' gave no final state")
    for row, site in enumerate(sites):
        # against the same row of the same batch: another row may differ by rounding alone
        if torch.equal(outcome.final[row], plain[row]):
            raise ModelError(
                f"a write at site '{site}' of '{model.name}' (module '{model.blocks.path(site)}') changes no logits"
            )


def _check_head(model: Model) -> None:
    import torch

    batch = _batch(model, 1)
    final = forward(model, batch, final=True).final
    with torch.no_grad():
        own = model.module(**batch.inputs()).logits.float()
    if final is None or not torch.allclose(model.head(final), own, rtol=0.02, atol=0.05 * float(own.std())):
        raise ModelError(
            f"the head of '{model.name}' does not give its logits from the state after '{model.blocks.norm}'"
        )
