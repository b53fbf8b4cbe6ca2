"""The lasso path: latents in the order in which they enter as the penalty falls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emovec_sae.decomposition.pursuits.pursuit import Pursuit, least_squares, pursuit, refitted_path

if TYPE_CHECKING:
    import torch

    from emovec_sae.decomposition.pursuits.dictionary import Dictionary

_EVENTS = 6
"""Most changes of an active set (rows in, rows out) for each row wanted; seen in trials: below 2."""
_TINY = {4: 1e-5, 8: 1e-10}
"""By bytes a number: a penalty that counts as none, relative to the first; and a slope that never meets it."""


@pursuit(
    "lasso",
    says="the first rows to enter the lasso path, coefficients by least squares; the lasso's own: raw_cosine, raw_r2",
    refit=least_squares,
)
def lasso_pursuit(targets: torch.Tensor, dictionary: Dictionary, k: int) -> Pursuit:
    """Follow the lasso path ``min |v - sum b_j d_j|^2 / 2 + C sum |b_j|`` down until k rows have entered.

    The support is by first entry; a row that leaves the path keeps its place. Coefficients are those of least squares
    on the first s rows; `Pursuit.raw` has the lasso's own where the next row enters, the least shrunken ones with s.
    The path ends early for a target that it reaches.

    Parameters
    ----------
    targets
        Shape (B, d).
    dictionary
        Unit rows, n of them.
    k
        How many rows; at most n and d.

    References
    ----------
    Efron, Hastie, Johnstone and Tibshirani 2004, Least angle regression (with its modification for the lasso).
    """
    import torch

    walk = _Walk(targets, dictionary, k)
    for _ in range(_EVENTS * k):
        if not bool(walk.going.any()):
            break
        walk.step()
    walk.keep(walk.going)
    sizes = torch.arange(1, k + 1, device=targets.device)
    last = (walk.used - 1).clamp_min(0)
    short = sizes[None] > walk.used[:, None]  # no more rows came: the last coefficients stay
    raw = torch.where(short[:, :, None], walk.raw[torch.arange(len(targets)), last][:, None], walk.raw)
    return Pursuit(walk.support, refitted_path(targets, dictionary, walk.support), raw.to(targets))


class _Walk:
    """The state of B paths; small numbers are float64, scores over the dictionary of the targets' own type."""

    def __init__(self, targets: torch.Tensor, dictionary: Dictionary, k: int) -> None:
        import torch

        n_targets, d = targets.shape
        self.rows, self.k, self.every = dictionary.rows, k, torch.arange(n_targets, device=targets.device)
        self.tiny = _TINY[targets.element_size()]
        self.scores = targets @ self.rows.T
        self.first = self.scores.abs().amax(1).double()
        self.penalty = self.first.clone()
        self.atoms = targets.new_zeros(n_targets, k, d)
        self.support = torch.full((n_targets, k), -1, dtype=torch.long, device=targets.device)
        self.gram = torch.zeros(n_targets, k, k, dtype=torch.float64, device=targets.device)
        self.signs, self.found = torch.zeros_like(self.gram[:, 0]), torch.zeros_like(self.gram[:, 0])
        self.active = self.signs != 0
        self.raw = torch.zeros_like(self.gram)
        self.used = torch.zeros_like(self.every)
        self.last_out = torch.full_like(self.every, -1)
        self.going = self.first > 0
        self._enter(self.going, self.scores.abs().argmax(1))

    def step(self) -> None:
        """Walk each path on to where a row enters or leaves, or the penalty is gone."""
        import torch

        both = self.active[:, :, None] & self.active[:, None, :]
        masked = torch.where(both, self.gram, 0.0) + torch.diag_embed((~self.active).to(self.gram))
        slope = torch.linalg.solve(masked, (self.signs * self.active)[:, :, None])[:, :, 0] * self.active
        turn = ((slope.to(self.atoms)[:, None] @ self.atoms)[:, 0]) @ self.rows.T
        join, which = self._meets(turn)
        leaves = torch.where(self.active & (self.found * slope < 0), -self.found / slope, torch.inf)
        leave, out = leaves.min(1)
        move = torch.minimum(torch.minimum(join, leave), self.penalty) * self.going
        self.found += move[:, None] * slope
        self.scores -= move[:, None].to(self.scores) * turn
        self.penalty -= move
        over = self.going & (self.penalty <= self.tiny * self.first)
        leaving, entering = self.going & ~over & (leave < join), self.going & ~over & (join <= leave)
        self.keep(over)
        self.going &= ~over
        self.last_out = torch.full_like(self.used, -1)
        self.last_out[leaving] = self.support[leaving, out[leaving]]
        self.active[leaving, out[leaving]] = False
        self.found[leaving, out[leaving]] = 0.0
        self._enter(entering, which)

    def keep(self, which: torch.Tensor) -> None:
        """Note the lasso's own coefficients for as many rows as each of these targets has."""
        some = which & (self.used > 0)
        self.raw[some, self.used[some] - 1] = self.found[some]

    def _meets(self, turn: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """How far until the next row's score meets the penalty, and which row that is."""
        import torch

        height = self.penalty[:, None].to(self.scores)
        up = (height - self.scores).clamp_min_(0) / (1 - turn).clamp_min_(self.tiny**2)
        down = (height + self.scores).clamp_min_(0) / (1 + turn).clamp_min_(self.tiny**2)
        nearest = torch.minimum(up, down)
        taken = torch.where(self.active, self.support, self.support[self.every, self.active.int().argmax(1), None])
        nearest.scatter_(1, taken.clamp_min(0), torch.inf)
        out = self.last_out >= 0
        nearest[out, self.last_out[out]] = torch.inf
        join, which = nearest.min(1)
        return join.double(), which

    def _enter(self, entering: torch.Tensor, which: torch.Tensor) -> None:
        """Put a row of each of these targets in: into its old place, or a new one; a full target is done."""
        import torch

        again = entering[:, None] & (self.support == which[:, None])
        old, new = again.any(1), entering & ~again.any(1)
        self.keep(new)
        full = new & (self.used == self.k)
        self.going &= ~full
        new &= ~full
        place = torch.where(old, again.int().argmax(1), self.used)
        slot = place[new]
        row = self.rows[which[new]]
        self.support[new, slot], self.atoms[new, slot] = which[new], row
        inner = (self.atoms[new] @ row[:, :, None])[:, :, 0].double()
        rest = torch.arange(len(slot), device=slot.device)
        gram = self.gram[new]
        gram[rest, slot], gram[rest, :, slot] = inner, inner
        self.gram[new] = gram
        self.used[new] += 1
        now = old | new
        at = place[now]
        self.active[now, at] = True
        self.signs[now, at] = self.scores[now, which[now]].double().sign()
