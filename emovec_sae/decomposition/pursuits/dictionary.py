"""Unit rows of a dictionary, and the search for the row most aligned with each of many vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

BLOCK = 64
"""Scores that are looked at together when candidates are gathered."""
CANDIDATES = 64
"""Candidates a vector, on average, beyond which the search is done in float32 at once."""
WORTHWHILE = 2**22
"""Numbers in a dictionary from which on a bfloat16 copy pays."""


class Dictionary:
    """Unit rows (n, d), searched exactly and fast.

    On processors with bfloat16 products the scores are first taken in bfloat16, and every row that could be the best
    within the error of that is scored again in float32: the answer is that of float32 alone, in about half the time.
    By Cauchy and Schwarz a score of rounded vectors is off by at most ``|l - l~| |d| + |l~| |d - d~|``, whose norms are
    measured, not assumed, plus the rounding of d sums and of the result.

    Parameters
    ----------
    rows
        Shape (n, d), each of norm 1 or 0; a row of zeros is never the best unless all are.
    quick
        Whether to keep the bfloat16 copy; None: where the dictionary is large, in float32, and the processor is fast
        at it.
    """

    def __init__(self, rows: torch.Tensor, *, quick: bool | None = None) -> None:
        import torch

        self.rows = rows
        if quick is None:
            large = rows.numel() >= WORTHWHILE and rows.dtype == torch.float32
            quick = large and rows.device.type == "cpu" and _bfloat16_is_fast()
        self._half = rows.to(torch.bfloat16) if quick else None
        self._off = 0.0
        if self._half is not None:
            parts = zip(rows.split(8192), self._half.split(8192), strict=True)
            self._off = max(float((part - half.float()).norm(dim=1).max()) for part, half in parts)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def d(self) -> int:
        """Width of the rows."""
        return self.rows.shape[1]

    def best(self, left: torch.Tensor, taken: torch.Tensor, *, signed: bool = True) -> torch.Tensor:
        """The row most aligned with each vector, those `taken` left out.

        Parameters
        ----------
        left
            Vectors, shape (B, d).
        taken
            Rows that each vector may not have, shape (B, s). A vector whose slots are -1 has been given up: its answer
            means nothing.
        signed
            Whether a row may be used with either sign (by absolute value), or with a positive one only.

        Returns
        -------
        torch.Tensor
            Shape (B,), int64.
        """
        if self._half is not None:
            found = self._quick(left, taken, signed=signed)
            if found is not None:
                return found
        scores = left @ self.rows.T
        return _without(scores.abs_() if signed else scores, taken, below=float("-inf")).argmax(1)

    def _quick(self, left: torch.Tensor, taken: torch.Tensor, *, signed: bool) -> torch.Tensor | None:
        """The same through bfloat16; None where too many rows come into question."""
        import torch

        if self._half is None:
            return None
        unit = left / left.norm(dim=1, keepdim=True).clamp_min(1e-30)
        half = unit.to(torch.bfloat16)
        scores = half @ self._half.T
        _without(scores.abs_() if signed else scores, taken, below=-2.0)
        padded = torch.nn.functional.pad(scores, (0, -scores.shape[1] % BLOCK), value=-2.0)
        blocks = padded.view(len(left), -1, BLOCK)
        tops = blocks.amax(2).float()
        best = tops.amax(1)
        error = (unit - half.float()).norm(dim=1) + half.float().norm(dim=1) * self._off
        # Sums of d products in float32, and the result in 8 bits.
        error += 2 * self.d * 2.0**-24 + 2.0**-8 * best.abs()
        bar = best - 2 * error
        owner, block = (tops >= bar[:, None]).nonzero(as_tuple=True)
        if len(owner) > CANDIDATES * len(left):
            return None
        hit, place = (blocks[owner, block].float() >= bar[owner, None]).nonzero(as_tuple=True)
        if len(hit) > CANDIDATES * len(left):
            return None
        target, row = owner[hit], block[hit] * BLOCK + place
        exact = (unit[target] * self.rows[row]).sum(1)
        if signed:
            exact = exact.abs()
        highest = exact.new_full((len(left),), -torch.inf).scatter_reduce(0, target, exact, "amax")
        won = exact == highest[target]
        nobody = torch.full((len(left),), len(self.rows), device=left.device)
        return nobody.scatter_reduce(0, target[won], row[won], "amin")


def _without(scores: torch.Tensor, taken: torch.Tensor, *, below: float) -> torch.Tensor:
    """Scores (B, n) with those of `taken` (B, s) out of the running, in place: `below` is less than any score."""
    if taken.shape[1]:
        # A slot without a row repeats the first, which is taken too; without any the answer is not looked at.
        scores.scatter_(1, taken.where(taken >= 0, taken[:, :1]).clamp_min(0), below)
    return scores


def _bfloat16_is_fast() -> bool:
    """Whether the processor multiplies in bfloat16."""
    import torch

    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
