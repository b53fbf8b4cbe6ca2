"""What a pursuit finds, and the register of pursuits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from emovec_sae.decomposition.targets import Curve, partial_curve
from emovec_sae.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from emovec_sae.decomposition.pursuits.dictionary import Dictionary

BATCH = 256
"""Targets worked on together."""


@dataclass(frozen=True, eq=False)
class Pursuit:
    """What was chosen for B targets in up to K steps.

    Attributes
    ----------
    support
        Rows of the dictionary in the order in which they were chosen, shape (B, K), int64; -1 where the method ended.
    path
        Coefficients by number of choices: ``path[b, s - 1, :s]`` are those of the first s, shape (B, K, K).
    raw
        The same before a least-squares refit, for methods that refit; else None.
    """

    support: torch.Tensor
    path: torch.Tensor
    raw: torch.Tensor | None = None

    def coefficients(self, k: int) -> torch.Tensor:
        """Coefficients of the first k choices, shape (B, k); 0 where there are fewer."""
        return self.path[:, k - 1, :k]

    def curve(self, targets: torch.Tensor, dictionary: Dictionary, at: tuple[int, ...]) -> Curve:
        """How well the first choices rebuild their targets, at the sizes `at`."""
        nothing, sizes = targets.new_zeros(0, targets.shape[1]), [size - 1 for size in at]
        found = partial_curve(
            self.support, self.path[:, sizes], targets, at, rows=dictionary.rows, removed=nothing
        ).quantities
        if self.raw is not None:
            before = partial_curve(self.support, self.raw[:, sizes], targets, at, rows=dictionary.rows, removed=nothing)
            found |= {"raw_cosine": before.cosine, "raw_r2": before.r2}
        return Curve(found)


def joined(parts: list[Pursuit]) -> Pursuit:
    """Stack pursuits of several batches of targets."""
    import torch

    raw = [part.raw for part in parts if part.raw is not None]
    return Pursuit(
        torch.cat([part.support for part in parts]),
        torch.cat([part.path for part in parts]),
        torch.cat(raw) if raw else None,
    )


Solve = Callable[["torch.Tensor", "Dictionary", int], Pursuit]
"""Targets (B, d), a dictionary and k -> what was chosen."""
Refit = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Unit rows (k, d) in the order of choice and a target (d,) -> the method's coefficients on just these, (k,)."""


@dataclass(frozen=True)
class Method:
    """A sparse pursuit on the decoder rows.

    Attributes
    ----------
    name
        As the user types it.
    says
        One line for people.
    solve
        Runs it on a batch of targets.
    refit
        Its coefficients when only some of its choices are kept.
    """

    name: str
    says: str
    solve: Solve
    refit: Refit

    def run(self, targets: torch.Tensor, dictionary: Dictionary, *, k: int) -> Pursuit:
        """Run on any number of targets (B, d), in batches.

        Raises
        ------
        ConfigError
            If k is impossible.
        """
        check_size(dictionary, k)
        return joined([self.solve(part, dictionary, k) for part in targets.split(BATCH)])


PURSUITS: dict[str, Method] = {}
"""All pursuits by name."""


def pursuit(name: str, *, says: str, refit: Refit) -> Callable[[Solve], Solve]:
    """Register a function as a pursuit.

    Raises
    ------
    ValueError
        If the name is taken.
    """
    if name in PURSUITS:
        raise ValueError(f"there is a pursuit '{name}' already")

    def _register(solve: Solve) -> Solve:
        PURSUITS[name] = Method(name, says, solve, refit)
        return solve

    return _register


def check_size(dictionary: Dictionary, k: int) -> None:
    """Refuse a number of choices that the dictionary does not have.

    Raises
    ------
    ConfigError
        If k is below 1, or above the rows or their width.
    """
    most = min(dictionary.rows.shape)
    if not 1 <= k <= most:
        raise ConfigError(f"pursuit chooses 1 to {most} of these {len(dictionary)} latents, got k = {k}")


def least_squares(rows: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Least-squares coefficients of a target (d,) on rows (k, d)."""
    return np.linalg.lstsq(rows.T.astype(float), target.astype(float), rcond=None)[0]


def refitted_path(targets: torch.Tensor, dictionary: Dictionary, support: torch.Tensor) -> torch.Tensor:
    """Least-squares coefficients on the first s of each support, for every s: (B, K, K); -1 only at the ends."""
    import torch

    there = support >= 0
    atoms = dictionary.rows[support.clamp_min(0)] * there[:, :, None]
    basis, factor = torch.linalg.qr(atoms.mT)
    weights = (basis.mT @ targets[:, :, None])[:, :, 0]
    return path_of(factor + torch.diag_embed((~there).to(factor)), weights * there)


def path_of(factor: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Coefficients for every size from an upper triangular factor (B, K, K) and the targets on its basis (B, K)."""
    import torch

    # Column s of the right side holds the first s weights: the solution of a triangular system ends in zeros then.
    sides = (weights[:, :, None] * torch.ones_like(factor)).triu()
    return torch.linalg.solve_triangular(factor, sides, upper=True).mT
