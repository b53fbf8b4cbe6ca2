"""A different edit for each row of a batch, so that conditions share a forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from emovec_sae.errors import ConfigError
from emovec_sae.interventions.edits.shifts import Shift
from emovec_sae.models.positions import Positions
from emovec_sae.models.seam import Edit
from emovec_sae.sites import Site

if TYPE_CHECKING:
    from torch import Tensor


class ByRow:
    """A different edit for each row of a batch.

    Shifts are one addition of a matrix, whatever their number; rows that share another edit are edited together.

    Parameters
    ----------
    edits
        One for each row; None leaves the row as it is. All act at one site and on the same positions.
    site, positions
        Theirs.
    """

    def __init__(self, edits: Sequence[Edit | None], site: Site, positions: str = "all") -> None:
        self.edits = tuple(edits)
        self.site = site
        self.positions = str(Positions.parse(positions))
        for edit in self.edits:
            if edit is not None and (edit.site, edit.positions) != (self.site, self.positions):
                raise ConfigError(
                    f"the edits of one batch act at one place: this is {self.site} at '{self.positions}', "
                    f"one of them is {edit.site} at '{edit.positions}'"
                )
        self._shifts = [row for row, edit in enumerate(self.edits) if isinstance(edit, Shift) and edit.dose != 0.0]
        self._others: dict[int, tuple[Edit, list[int]]] = {}
        for row, edit in enumerate(self.edits):
            if edit is not None and not isinstance(edit, Shift):
                self._others.setdefault(id(edit), (edit, []))[1].append(row)
        self._ready: dict[Any, tuple[Tensor, Tensor]] = {}

    def __repr__(self) -> str:
        return f"ByRow({len(self.edits)} edits, {self.site}, positions={self.positions!r})"

    def __call__(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return the states, each row edited by its own edit."""
        import torch

        if len(hidden) != len(self.edits):
            raise ConfigError(
                f"{len(self.edits)} edits were given for a batch of {len(hidden)} rows; give one for each"
            )
        if self._shifts:
            vectors, rows = self._matrix(hidden)
            hidden = torch.where((mask & rows[:, None])[..., None], hidden + vectors[:, None], hidden)
        if self._others:
            hidden = hidden.clone()
            for edit, rows in self._others.values():
                hidden[rows] = edit(hidden[rows], mask[rows])
        return hidden

    def _matrix(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """What is added to each row, (rows, d_model), and to which rows anything is."""
        import torch

        key = (hidden.device, hidden.dtype)
        if key not in self._ready:
            added = np.zeros((len(self.edits), hidden.shape[-1]), np.float32)
            for row in self._shifts:
                edit = self.edits[row]
                if isinstance(edit, Shift):
                    added[row] = edit.added
            moved = torch.zeros(len(self.edits), dtype=torch.bool, device=hidden.device)
            moved[self._shifts] = True
            self._ready[key] = torch.from_numpy(added).to(*key), moved
        return self._ready[key]
