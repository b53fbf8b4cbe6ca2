"""The seam: one way to read activations at sites, apply functions there, and skip blocks that were already run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from emovec_sae.errors import ModelError
from emovec_sae.models.model import Model
from emovec_sae.models.positions import Positions
from emovec_sae.models.tokens import Batch
from emovec_sae.models.traces import read_places
from emovec_sae.sites import Site

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class Edit(Protocol):
    """A function (hidden states, mask) -> hidden states at a site.

    Attributes
    ----------
    site
        Where it acts.
    positions
        Tokens it may act on, as `Positions` reads them: ``all``, ``prompt``, ``generated``, ``last``, ``from:N``,
        ``span:FIRST-LAST``, ``role:user``.
    """

    @property
    def site(self) -> Site:
        """Where the edit acts."""
        ...

    @property
    def positions(self) -> str:
        """Which tokens the mask lets through."""
        ...

    def __call__(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return new hidden states, shape (batch, sequence, d_model); `mask` (batch, sequence) is True where to act."""
        ...


@dataclass(frozen=True)
class Prefix:
    """Residuals after some block, so that the blocks up to it need not run again.

    Attributes
    ----------
    batch
        The tokens.
    layer
        The last block that was run; -1 means none.
    hidden
        ``resid_post`` of that block, shape (batch, sequence, d_model); None with layer -1.
    """

    batch: Batch
    layer: int
    hidden: Tensor | None

    def rows(self, rows: Sequence[int] | Tensor) -> Prefix:
        """Pick (or repeat) rows of the batch."""
        import torch

        index = torch.as_tensor(rows, device=self.batch.input_ids.device)
        return Prefix(self.batch.rows(index), self.layer, None if self.hidden is None else self.hidden[index])


@dataclass(frozen=True)
class Outcome:
    """What a forward pass was asked for.

    Attributes
    ----------
    values
        Activations by site, each (batch, sequence, d_model), after the edits at that site.
    final
        States after the last norm, (batch, sequence, d_model), or None if the pass stopped earlier.
    """

    values: dict[Site, Tensor]
    final: Tensor | None


def forward(
    model: Model,
    batch: Batch,
    *,
    read: Iterable[Site] = (),
    edits: Sequence[Edit] = (),
    prefix: Prefix | None = None,
    final: bool = False,
) -> Outcome:
    """Run a model once: read sites, apply edits, and stop at the deepest site that is needed.

    Parameters
    ----------
    model
        The model.
    batch
        Right-padded tokens.
    read
        Sites to read; with edits at the same site, the edited value is read.
    edits
        Applied in their order at each site.
    prefix
        Residuals of the same batch from `run_prefix`; its blocks are skipped.
    final
        Also return the states after the last norm (the head is left to ``model.head``, on the positions that matter).

    Raises
    ------
    ModelError
        If a site cannot be read, or an edit lies below the prefix.
    """
    import nnsight
    import torch

    wanted = set(read)
    if wanted and not (edits or prefix or final):
        return Outcome(values=_read(model, batch, sorted(wanted)), final=None)
    if model.remote:
        raise ModelError(
            f"the weights of '{model.name}' are elsewhere (NDIF): it can be recorded, not edited or scored"
        )
    by_site: dict[Site, list[Edit]] = {}
    for edit in edits:
        by_site.setdefault(edit.site, []).append(edit)
    for site in {*wanted, *by_site}:
        model.blocks.path(site)
    start, hidden = _resume(prefix, by_site, wanted, batch)
    here = Site("resid_post", start) if hidden is not None else None
    ahead = sorted({*wanted, *by_site} - {here})
    with torch.no_grad(), model.net.trace(batch.inputs()) as tracer:
        kept = nnsight.save({})
        for layer in range(start + 1):
            envoy_of(model, model.blocks.layers[layer]).skip(hidden)
        for site in ahead:
            value = apply_edits(read_value(model, site), by_site.get(site, ()), batch)
            if site in by_site:
                write_value(model, site, value)
            if site in wanted:
                kept[site] = value
        if final:
            kept["final"] = envoy_of(model, model.blocks.norm).output
        tracer.stop()
    last = kept.pop("final", None)
    if here is not None and here in wanted:
        kept[here] = hidden
    return Outcome(values=dict(kept), final=last)


def _read(model: Model, batch: Batch, sites: Sequence[Site]) -> dict[Site, Tensor]:
    """Read sites and nothing else, here or where the weights are."""
    places = [(str(site), envoy_of(model, model.blocks.path(site)), site.stream == "resid_pre") for site in sites]
    found = read_places(model.net, batch.inputs(), places, remote=model.remote)
    return {site: found[str(site)] for site in sites}


def run_prefix(model: Model, batch: Batch, below: Site) -> Prefix:
    """Run the blocks below a site once, so that every edit at it starts from there.

    The residual kept is the site's own for ``resid_post``, and the one that enters its block otherwise.
    """
    layer = below.layer if below.stream == "resid_post" else below.layer - 1
    if layer < 0:
        return Prefix(batch, -1, None)
    site = Site("resid_post", layer)
    return Prefix(batch, layer, forward(model, batch, read=[site]).values[site])


def _resume(
    prefix: Prefix | None, by_site: dict[Site, list[Edit]], wanted: set[Site], batch: Batch
) -> tuple[int, Tensor | None]:
    """Last block to skip and the stream that leaves it, with the edits at exactly that place applied."""
    if prefix is None or prefix.hidden is None:
        return -1, None
    here = Site("resid_post", prefix.layer)
    early = [str(site) for site in {*by_site, *wanted} if site < here]
    if early:
        raise ModelError(f"sites {', '.join(sorted(early))} lie below block {prefix.layer}, which is not run again")
    return prefix.layer, apply_edits(prefix.hidden, by_site.get(here, ()), batch)


def apply_edits(value: Tensor, edits: Sequence[Edit], batch: Batch, *, step: int = 0) -> Tensor:
    """Apply edits of one site in their order, in a step of generation from `batch` (step 0 is the batch itself)."""
    for edit in edits:
        value = edit(value, Positions.parse(edit.positions).mask(batch, step).to(value.device))
    return value


def read_value(model: Model, site: Site) -> Tensor:
    """Inside a trace: the stream at a site, shape (batch, sequence, d_model)."""
    envoy = envoy_of(model, model.blocks.path(site))
    value = envoy.input if site.stream == "resid_pre" else envoy.output
    return value[0] if isinstance(value, tuple) else value


def write_value(model: Model, site: Site, value: Tensor) -> None:
    """Inside a trace: replace the stream at a site, keeping whatever else the module returns."""
    envoy = envoy_of(model, model.blocks.path(site))
    if site.stream == "resid_pre":
        envoy.input = value
    elif isinstance(envoy.output, tuple):
        envoy.output = (value, *envoy.output[1:])
    else:
        envoy.output = value


def envoy_of(model: Model, path: str) -> Any:
    """The nnsight envoy of a dotted module path."""
    found: Any = model.net
    for part in path.split("."):
        found = found[int(part)] if part.isdigit() else getattr(found, part)
    return found
