"""Exact patching: one run a cell, with what the cells share run once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from emovec_sae.errors import ModelError
from emovec_sae.interventions.edits import PatchResidual
from emovec_sae.interventions.patches.alignment import AlignedPair, Positions
from emovec_sae.interventions.patches.carriers import Carrier
from emovec_sae.models.model import Model
from emovec_sae.models.seam import Prefix, forward
from emovec_sae.models.tokens import Batch
from emovec_sae.sites import Site

if TYPE_CHECKING:
    from torch import Tensor

BUDGET = {"cpu": 512, "other": 16_384}
"""Tokens of a batch: the caches of a processor like small ones, a GPU large ones."""


@dataclass(frozen=True, eq=False)
class Cell:
    """One thing to try: some tokens of one site replaced.

    Attributes
    ----------
    what, site, part
        What is moved, where, and the name of the place.
    tokens
        Tokens of the target that are replaced together.
    states
        What they are replaced by, (target tokens, d_model); rows of other tokens are not used.
    """

    what: str
    site: Site
    part: str
    tokens: tuple[int, ...]
    states: Tensor

    @property
    def below(self) -> int:
        """The last block that runs unchanged below the site; -1 where there is none."""
        return self.site.layer if self.site.stream == "resid_post" else self.site.layer - 1


@dataclass(frozen=True, eq=False)
class Runs:
    """The two plain runs of a pair.

    Attributes
    ----------
    pair
        The texts.
    batch
        The target's tokens.
    source, target
        States by site, (tokens, d_model).
    m_source, m_target
        Logit of the source's answer minus that of the target's, at the last token.
    """

    pair: AlignedPair
    batch: Batch
    source: dict[Site, Tensor]
    target: dict[Site, Tensor]
    m_source: float
    m_target: float

    def cells(self, carriers: Sequence[Carrier], positions: Positions) -> Iterator[Cell]:
        """Everything to try, in the order of the carriers and their sites."""
        places = self.pair.places(positions)
        for carrier in carriers:
            for site in carrier.sites:
                states = carrier.states(self.pair, site, self.source[site], self.target[site])
                for part, tokens in places:
                    yield Cell(carrier.name, site, part, tokens, states)


def plain_runs(model: Model, pair: AlignedPair, carriers: Sequence[Carrier]) -> Runs:
    """Run both texts once, reading every site that is needed."""
    import torch

    sites = {site for carrier in carriers for site in carrier.sites}
    below = {Site("resid_post", site.layer - 1) for site in sites if site.stream != "resid_post" and site.layer > 0}
    batches: list[Batch] = []
    for ids in (pair.source, pair.target):
        rows = torch.tensor([ids], device=model.device)
        batches.append(Batch(rows, torch.ones_like(rows, dtype=torch.bool)))
    source = forward(model, batches[0], read=sites, final=True)
    target = forward(model, batches[1], read=sites | below, final=True)
    with torch.no_grad():
        m_source, m_target = (float(margin(model, one.final, pair)[0]) for one in (source, target))
    states = [{site: value[0] for site, value in one.values.items()} for one in (source, target)]
    return Runs(pair, batches[1], states[0], states[1], m_source, m_target)


def exact_margins(model: Model, runs: Runs, cells: Sequence[Cell]) -> list[float]:
    """The margin under each cell's patch, in the order of the cells.

    Cells above one block are rows of one batch, whatever their place, site or kind; the blocks up to there are not run
    again, and the head is applied at the last token alone.
    """
    at_once = max(1, BUDGET["cpu" if model.device.type == "cpu" else "other"] // len(runs.pair.target))
    order = sorted(range(len(cells)), key=lambda index: cells[index].below)
    found = [0.0] * len(cells)
    for layer, group in groupby(order, key=lambda index: cells[index].below):
        indices = list(group)
        hidden = runs.target[Site("resid_post", layer)][None] if layer >= 0 else None
        prefix = Prefix(runs.batch, layer, hidden)
        for start in range(0, len(indices), at_once):
            some = indices[start : start + at_once]
            values = _patched(model, runs.pair, prefix.rows([0] * len(some)), [cells[index] for index in some])
            for index, value in zip(some, values, strict=True):
                found[index] = value
    return found


def _patched(model: Model, pair: AlignedPair, prefix: Prefix, cells: Sequence[Cell]) -> list[float]:
    """The margins of cells that share a prefix, a row each."""
    import torch

    edits: list[PatchResidual] = []
    for site in sorted({cell.site for cell in cells}):
        values = torch.stack([cell.states for cell in cells])
        where = torch.zeros(values.shape[:2], dtype=torch.bool, device=values.device)
        for row, cell in enumerate(cells):
            if cell.site == site:
                where[row, list(cell.tokens)] = True
        edits.append(PatchResidual(values, where, site))
    outcome = forward(model, prefix.batch, edits=edits, prefix=prefix, final=True)
    with torch.no_grad():
        return margin(model, outcome.final, pair).tolist()


def margin(model: Model, final: Tensor | None, pair: AlignedPair) -> Tensor:
    """Logit of the source's answer minus that of the target's, at the last token, (batch,)."""
    if final is None:
        raise ModelError("the model gave no final state")
    logits = model.head(final[:, -1])
    return logits[:, pair.answers[0]] - logits[:, pair.answers[1]]
