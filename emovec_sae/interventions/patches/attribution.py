"""Attribution patching: what every patch would do to first order, from one gradient of the target's run."""

from __future__ import annotations

from collections.abc import Sequence

from emovec_sae.interventions.patches.exact import Cell, Runs, margin
from emovec_sae.models.gradient_map import gradient_map
from emovec_sae.models.model import Model


def attributed_margins(model: Model, runs: Runs, cells: Sequence[Cell]) -> list[float]:
    """The margin that the gradient promises for each cell: ``m_target + <gradient, patched states - states>``.

    Notes
    -----
    After Nanda 2023, "Attribution patching"; Syed, Rager and Conmy 2023 (arXiv 2310.10348). Two runs and one pass back
    for all cells; where a patch is large the approximation is poor, which `Patching.agreement` measures.
    """
    found = gradient_map(
        model, runs.batch, {cell.site for cell in cells}, lambda final: margin(model, final, runs.pair)
    )
    margins: list[float] = []
    for cell in cells:
        tokens = list(cell.tokens)
        change = (cell.states[tokens].float() - runs.target[cell.site][tokens].float()) * found[cell.site][0, tokens]
        margins.append(runs.m_target + float(change.sum()))
    return margins
