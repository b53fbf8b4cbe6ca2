"""Which latents tell an emotion from the others: permutation tests within groups, corrected for all latents tested.

What is exchanged is a cell, the texts of an emotion in a group: the texts of a cell are often variants of one prompt
and not independent. Under the null hypothesis the cells of a group carry their emotions by chance; for one emotion a
permutation then is a random cell from each group, so that every draw serves all emotions that have the same groups.
Where each group has one emotion only (texts without a group are each their own), whole groups are exchanged instead.

The statistic is the sum over the emotion's cells of (mean of the cell - mean of its group's cells): with cells of one
size it is Delta times a constant. It is divided by its standard deviation over permutations plus the median of these
over the tested latents, as Tusher et al. 2001 do: a latent that fires in a single cell has a huge standardised value
whenever that cell is drawn, and would set the maximum of every draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from emovec_sae.decomposition.parts import DENSE
from emovec_sae.decomposition.permutations import Design, designs
from emovec_sae.stats import benjamini_hochberg

if TYPE_CHECKING:
    from emovec_sae.decomposition.cells import Cells

LEVEL = 0.05
"""Level at which significant latents are counted."""
PSEUDO = 100
"""Permuted labelings on which the whole procedure is repeated, to see how many latents it finds by chance."""
_VALUES = 2**23
"""Numbers of the null held at once."""
_SLACK = 1e-5
"""Draws of the same cells count as ties although their sums may differ by rounding."""


@dataclass(frozen=True, eq=False)
class Significance:
    """Tests of every latent in every wanted emotion, n of them.

    Attributes
    ----------
    z
        The statistic, shape (n, d_sae), float32; NaN where a latent was not tested.
    p, p_max_t, q
        Two-sided p; corrected for all tested latents of the emotion by the maximum of each permutation (Westfall and
        Young's single step); and by Benjamini and Hochberg's procedure over them. Shapes and NaN as `z`.
    tested
        Latents that were: they fire, on at most a tenth of the tokens, and not the same in all cells; shape (d_sae,).
    designs
        What could be permuted for each emotion.
    by_chance
        Latents that permuted labelings find at `LEVEL`: shape (n, PSEUDO, 2), by p_max_t and by q; fewer labelings
        where there are no more. NaN where nothing can be permuted.
    """

    z: np.ndarray
    p: np.ndarray
    p_max_t: np.ndarray
    q: np.ndarray
    tested: np.ndarray
    designs: tuple[Design, ...]
    by_chance: np.ndarray

    def summary(self, row: int) -> dict[str, float | int]:
        """Counts and floors of one emotion, for the summary of a decomposition.

        Returns
        -------
        dict
            n_tested; for N of max_t and q: n_N (latents at `LEVEL`), null_N and null_N_high (mean and 97.5 % of what
            permuted labelings give), excess_N; p_floor (smallest p that so many permutations can give), exact_floor
            (one over the number of arrangements: what no number of permutations can pass) and q_floor (smallest q
            where one latent alone is at the floor; r of them at the floor have a q of 1/r of it).
        """
        design, tested = self.designs[row], int(self.tested.sum())
        found: dict[str, float | int] = {"n_tested": tested if design.possible else 0}
        for place, (name, values) in enumerate((("max_t", self.p_max_t), ("q", self.q))):
            count, chance = int((values[row] <= LEVEL).sum()), self.by_chance[row, :, place]
            found[f"n_{name}"] = count
            found[f"null_{name}"] = float(chance.mean())
            found[f"null_{name}_high"] = float(np.quantile(chance, 0.975))
            found[f"excess_{name}"] = count - float(chance.mean())
        floor = design.floor
        return found | {
            "p_floor": floor,
            "exact_floor": design.exact_floor,
            "q_floor": min(1.0, max(1, tested) * floor),
        }


def significance(
    cells: Cells, wanted: Sequence[int], *, permutations: int = 9999, seed: int = 0, dense: float = DENSE
) -> Significance:
    """Test every live, non-dense latent in every wanted emotion.

    Parameters
    ----------
    cells
        Sums by emotion and group.
    wanted
        Numbers of the emotions.
    permutations
        Random permutations; where there are no more arrangements than this, all are counted.
    seed
        Of the permutations.
    dense
        Firing rate above which a latent is not tested.

    References
    ----------
    Westfall and Young 1993, Resampling-based multiple testing. Tusher, Tibshirani and Chu 2001, Significance analysis
    of microarrays applied to the ionizing radiation response.
    """
    plans = designs(cells.n_texts, wanted, permutations=permutations, seed=seed)
    d_sae = cells.latents.shape[1]
    candidates = np.flatnonzero((cells.fired > 0) & (cells.firing_rate <= dense))
    shape = (len(wanted), d_sae)
    z, p, p_max_t, q = (np.full(shape, np.nan, dtype=np.float32) for _ in range(4))
    tested = np.zeros(d_sae, dtype=bool)
    n_pseudo = min([PSEUDO, *(len(plan.picks) for plan, _ in plans if plan.possible)])
    by_chance = np.full((len(wanted), n_pseudo, 2), np.nan)
    owner: dict[int, Design] = {}
    for plan, rows in plans:
        owner |= dict.fromkeys(rows, plan)
        if not plan.possible or len(candidates) == 0:
            continue
        work = _Table(cells, plan, candidates)
        tested[work.columns] = True
        mine = work.test([plan.own[row] for row in rows], n_pseudo)
        for table, values in zip((z, p, p_max_t, q), (mine.z, mine.p, mine.p_max_t, mine.q), strict=True):
            table[np.array(rows)[:, None], work.columns] = values
        by_chance[rows] = mine.by_chance
    return Significance(z, p, p_max_t, q, tested, tuple(owner[row] for row in range(len(wanted))), by_chance)


@dataclass(frozen=True, eq=False)
class _Tested:
    z: np.ndarray
    p: np.ndarray
    p_max_t: np.ndarray
    q: np.ndarray
    by_chance: np.ndarray


class _Table:
    """Cell means of the candidates, centred within blocks, with the scale of the statistic."""

    def __init__(self, cells: Cells, plan: Design, candidates: np.ndarray) -> None:
        self._cells, self._plan = cells, plan
        count = cells.n_texts.reshape(-1)[plan.cells].astype(float)
        self._weights = (1.0 / count)[:, None]
        variance = np.concatenate([self._variance(part) for part in self._parts(candidates)])
        deviation = np.sqrt(variance)
        moving = deviation > 1e-7 * max(float(deviation.max(initial=0.0)), 1e-30)
        self.columns = candidates[moving]
        scale = deviation[moving]
        self._scale = scale + (np.median(scale) if len(scale) else 1.0)

    def _parts(self, columns: np.ndarray) -> list[np.ndarray]:
        size = max(1, _VALUES // max(len(self._plan.picks), len(self._plan.cells)))
        return [columns[first : first + size] for first in range(0, len(columns), size)]

    def _centred(self, columns: np.ndarray) -> np.ndarray:
        """Cell means less those of their blocks, shape (cells, columns), float64."""
        values = self._cells.latents[self._plan.cells[:, None], columns] * self._weights
        for rows in self._plan.blocks:
            values[rows] -= values[rows].mean(0)
        return values

    def _variance(self, columns: np.ndarray) -> np.ndarray:
        """Variance of the statistic over permutations: drawing without replacement from every block."""
        values, total = self._centred(columns), np.zeros(len(columns))
        for rows, taken in zip(self._plan.blocks, self._plan.taken, strict=True):
            if taken and len(rows) > 1:
                total += taken * (len(rows) - taken) / (len(rows) - 1) * np.square(values[rows]).mean(0)
        return total

    def test(self, own: list[np.ndarray], n_pseudo: int) -> _Tested:
        """Test the emotions whose cells are `own`, and the first permuted labelings in their place."""
        import torch

        plan, n = self._plan, len(own)
        picks = torch.from_numpy(plan.picks)
        z, reached = (np.empty((n + n_pseudo, len(self.columns)), dtype=np.float32) for _ in range(2))
        largest = torch.zeros(len(picks))
        first = 0
        for part in self._parts(self.columns):
            here = slice(first, first + len(part))
            table = torch.from_numpy((self._centred(part) / self._scale[here]).astype(np.float32))
            null = torch.nn.functional.embedding_bag(picks, table, mode="sum").abs_()
            seen = torch.cat([torch.stack([table[torch.from_numpy(rows)].sum(0) for rows in own]), null[:n_pseudo]])
            torch.maximum(largest, null.amax(1), out=largest)
            z[:, here] = seen.numpy()
            ordered, limit = null.T.contiguous().sort(dim=1).values, (seen.abs() * (1 - _SLACK)).T.contiguous()
            reached[:, here] = (len(picks) - torch.searchsorted(ordered, limit)).T.numpy()
            first += len(part)
        p, top = plan.p(reached, n), np.sort(largest.numpy())
        beyond = len(top) - np.searchsorted(top, np.abs(z) * (1 - _SLACK))
        p_max_t = plan.p(beyond.astype(np.float32), n)
        q = np.stack([benjamini_hochberg(row) for row in p])
        chance = np.stack([(values[n:] <= LEVEL).sum(1) for values in (p_max_t, q)], axis=1)
        return _Tested(z[:n], p[:n], p_max_t[:n], q[:n], chance.astype(float)[None])
