"""The activations that directions were fitted on, checked: cells of latents, and mean residuals of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from emovec_sae.decomposition.cells import Cells, measure_cells
from emovec_sae.decomposition.targets import project
from emovec_sae.errors import MismatchError

if TYPE_CHECKING:
    import torch

    from emovec_sae.directions.direction_set import DirectionSet
    from emovec_sae.saes.coder import SparseCoder
    from emovec_sae.store.reader import Activations

TOLERANCE = 1e-3
"""How far, relative to its norm, a vector may lie from what the activations give: pooled values are float32."""


@dataclass(frozen=True, eq=False)
class PooledTexts:
    """Pooled residuals of the texts that the directions were fitted on.

    Attributes
    ----------
    values
        Shape (n, d), float32.
    emotion, group
        Codes into the directions' emotions and groups, shape (n,).
    """

    values: np.ndarray
    emotion: np.ndarray
    group: np.ndarray


def check_acts(whole: DirectionSet, sae: SparseCoder, acts: Activations) -> None:
    """Refuse activations that are not those of the directions.

    Raises
    ------
    MismatchError
        If site, width or model differ.
    """
    sae.require(site=whole.site, d_model=int(acts.model["d_model"]), model=acts.model)
    whole.check_model(acts.model)
    if whole.site not in acts.sites:
        have = ", ".join(map(str, acts.sites))
        raise MismatchError(f"these directions live at {whole.site}, the activations were recorded at {have}")


def cells_of(whole: DirectionSet, sae: SparseCoder, acts: Activations) -> Cells:
    """One pass over the tokens of the texts that the directions were fitted on.

    Raises
    ------
    MismatchError
        If the activations are not those of the directions, or these were not fitted on the pool ``mean``.
    StoreError
        If tokens were not recorded.
    """
    check_acts(whole, sae, acts)
    if whole.pool != "mean":
        raise MismatchError(
            f"these directions were fitted on the pool '{whole.pool}'; latents are averaged over the tokens of 'mean'"
        )
    emotion, group = _labels(whole, acts)
    return measure_cells(
        sae, acts[whole.site], emotion=emotion, group=group, emotions=whole.emotions, groups=whole.groups
    )


def pooled_texts(whole: DirectionSet, acts: Activations) -> PooledTexts:
    """The pooled residuals of those texts; no tokens are needed.

    Raises
    ------
    MismatchError
        If an emotion has no text there.
    StoreError
        If the directions' pool was not recorded.
    """
    emotion, group = _labels(whole, acts)
    rows = np.flatnonzero(emotion >= 0)
    return PooledTexts(acts.pooled(whole.site, whole.pool)[rows], emotion[rows], group[rows])


def check_same_texts(whole: DirectionSet, cells: Cells, removed: torch.Tensor) -> None:
    """Hold the vectors against the differences of means that these activations give.

    Raises
    ------
    MismatchError
        If one differs by more than `TOLERANCE`.
    """
    import torch

    found = project(torch.from_numpy(cells.contrast(cells.residual)).to(removed), removed).cpu().numpy()
    off = np.linalg.norm(found - whole.vectors, axis=1) / np.linalg.norm(whole.vectors, axis=1)
    worst = int(off.argmax())
    if off[worst] > TOLERANCE:
        raise MismatchError(
            f"these activations give a vector of '{whole.emotions[worst]}' that differs by {off[worst]:.1%} from the "
            "one to be decomposed: it was fitted on other texts, or not as a difference of means. Give the activations "
            "(and the view of them) that fit_directions had"
        )


def _labels(whole: DirectionSet, acts: Activations) -> tuple[np.ndarray, np.ndarray]:
    """Codes of the emotion and the group of each text, -1 for texts that the directions never saw."""
    emotion = _codes(acts.frame["emotion"].tolist(), whole.emotions)
    group = _codes(acts.frame["group"].tolist(), whole.groups)
    emotion[group < 0] = -1
    missing = [name for row, name in enumerate(whole.emotions) if not (emotion == row).any()]
    if missing:
        raise MismatchError(
            f"the activations hold no text of '{missing[0]}' in the groups that the directions were fitted on"
        )
    return emotion, group


def _codes(values: Sequence[Any], names: Sequence[str]) -> np.ndarray:
    """Place of each value among the names, -1 for what is none of them."""
    places = {name: row for row, name in enumerate(names)}
    return np.array([places.get(str(value), -1) for value in values], dtype=np.int64)
