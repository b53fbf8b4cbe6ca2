"""Active latents of a batch as a list: which token, which latent, which value; and sums over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Active:
    """The active latents: row (token), column (latent) and value of each, rows in rising order."""

    rows: torch.Tensor
    columns: torch.Tensor
    values: torch.Tensor

    def only(self, chosen: torch.Tensor) -> Active:
        """Those that a mask keeps."""
        return Active(self.rows[chosen], self.columns[chosen], self.values[chosen])

    def decoded(self, table: torch.Tensor, n: int) -> torch.Tensor:
        """Sum over each token's latents of value times row of `table` (d_sae, d); returns (n, d)."""
        import torch

        return torch.nn.functional.embedding_bag(
            self.columns, table, _starts(self.rows, n), mode="sum", per_sample_weights=self.values
        )

    def dots(self, x: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """Inner product of ``x[row]`` and ``table[column]`` for each active latent: the gradient of `decoded`."""
        import torch

        with torch.enable_grad():
            leaf = torch.zeros_like(self.values).requires_grad_()
            decoded = Active(self.rows, self.columns, leaf).decoded(table.detach(), len(x))
        return torch.autograd.grad(decoded, leaf, x)[0]


class Parts:
    """Active latents cut by nested levels of width, each decoded with all that it contains.

    Parameters
    ----------
    active
        All active latents.
    widths
        Where the levels end; one for an SAE without levels.
    table
        Decoder rows, (d_sae, d).
    n
        Tokens of the batch.
    """

    def __init__(self, active: Active, widths: Sequence[int], table: torch.Tensor, n: int) -> None:
        import torch

        self.table, self.n, self.parts = table, n, _cut(active, widths)
        self.decoded: list[torch.Tensor] = []
        self._graphs: list[tuple[torch.Tensor, torch.Tensor]] = []
        for part in self.parts:
            # Only the gradient by the values is left to torch: it is the one that needs no sorting.
            with torch.enable_grad():
                leaf = part.values.detach().requires_grad_()
                own = Active(part.rows, part.columns, leaf).decoded(table.detach(), n)
            self._graphs.append((own, leaf))
            inner = self.decoded[-1] if self.decoded else 0.0
            self.decoded.append(own.detach() + inner)

    def gradients(
        self, centred: torch.Tensor, upstreams: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Gradients by encoder columns and decoder rows, both (d_sae, d), and by the encoder's bias, (d_sae,).

        Parameters
        ----------
        centred
            What the encoder read, (n, d).
        upstreams
            Gradient by what each level added, (n, d) each.
        """
        import torch

        by_value = [
            torch.autograd.grad(own, leaf, upstream)[0] * (leaf > 0)
            for (own, leaf), upstream in zip(self._graphs, upstreams, strict=True)
        ]
        rows = torch.cat([part.rows for part in self.parts])
        columns, order = torch.cat([part.columns for part in self.parts]).sort(stable=True)
        levels = torch.cat([part.rows + level * self.n for level, part in enumerate(self.parts)])
        values = torch.cat([part.values for part in self.parts])[order]
        slopes = torch.cat(by_value)[order]
        starts = _starts(columns, len(self.table))
        bag = torch.nn.functional.embedding_bag
        encoder = bag(rows[order], centred, starts, mode="sum", per_sample_weights=slopes)
        decoder = bag(levels[order], torch.cat([*upstreams]), starts, mode="sum", per_sample_weights=values)
        b_enc = torch.zeros(len(self.table), dtype=slopes.dtype, device=slopes.device).index_add_(0, columns, slopes)
        return encoder, decoder, b_enc


def over_each_token(by: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and columns of each token's k largest entries."""
    import torch

    columns = by.topk(k, dim=-1, sorted=False).indices
    return torch.arange(len(by), device=by.device).repeat_interleave(columns.shape[1]), columns.flatten()


def over_the_batch(by: torch.Tensor, wanted: int, *, above: float) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Rows and columns of the `wanted` largest positive entries of a batch, and the smallest of these.

    Ordering millions of entries is dear. Those over `above`, a guess from the batch before, are few; where they are
    too few, all positive entries are looked at.
    """
    import torch

    flat = by.reshape(-1)
    candidates = _where(flat > above)
    if len(candidates) < wanted:
        candidates = _where(flat > 0)
    lowest = 0.0
    if len(candidates) > wanted:
        top = flat[candidates].topk(wanted, sorted=False)
        lowest = float(top.values.min()) if wanted else 0.0
        candidates = candidates[top.indices].sort().values
    return torch.div(candidates, by.shape[1], rounding_mode="floor"), candidates % by.shape[1], lowest


def _where(mask: torch.Tensor) -> torch.Tensor:
    """Places of the true values; NumPy finds them ten times faster than torch's ``nonzero`` on a processor."""
    import torch

    if mask.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return mask.nonzero().flatten()


def _cut(active: Active, widths: Sequence[int]) -> list[Active]:
    if len(widths) == 1:
        return [active]
    starts = [0, *widths[:-1]]
    return [
        active.only((active.columns >= low) & (active.columns < high)) for low, high in zip(starts, widths, strict=True)
    ]


def _starts(sorted_places: torch.Tensor, n: int) -> torch.Tensor:
    """Where the entries of each of n places begin in a rising list of places."""
    import torch

    counts = torch.bincount(sorted_places, minlength=n)
    return counts.cumsum(0) - counts
