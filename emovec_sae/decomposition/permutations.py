"""What a permutation of emotions within groups can draw: cells, blocks, and the arrangements that are counted."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Design:
    """How the cells of some emotions are drawn.

    Attributes
    ----------
    cells
        Cells that take part, as rows of the table of cells, shape (c,).
    blocks
        Places in `cells` of each block's; a block is a group, or all cells where groups have one emotion each.
    taken
        How many cells of each block these emotions have.
    own
        Number of a wanted emotion -> places in `cells` of its own cells.
    picks
        Places in `cells` that each draw takes, shape (B, sum(taken)).
    arrangements
        Number of possible draws; 1 means that nothing can be permuted.
    exact
        Whether `picks` are all of them.
    """

    cells: np.ndarray
    blocks: tuple[np.ndarray, ...]
    taken: tuple[int, ...]
    own: dict[int, np.ndarray]
    picks: np.ndarray
    arrangements: int
    exact: bool

    @property
    def possible(self) -> bool:
        """Whether there is anything to permute."""
        return self.arrangements > 1

    @property
    def exact_floor(self) -> float:
        """The smallest p that any number of permutations can give."""
        return 1.0 / float(min(self.arrangements, 10**300))

    @property
    def floor(self) -> float:
        """The smallest p that these can give."""
        return self.exact_floor if self.exact else 1.0 / (len(self.picks) + 1)

    def p(self, reached: np.ndarray, observed: int) -> np.ndarray:
        """P values from how many draws reach a statistic, shape (rows, m); the first `observed` rows were not drawn.

        The observed labeling counts as an arrangement of its own unless all are counted; a drawn one is among them.
        """
        found = reached / len(self.picks)
        if not self.exact:
            found[:observed] = (reached[:observed] + 1) / (len(self.picks) + 1)
        return found


def designs(
    n_texts: np.ndarray, wanted: Sequence[int], *, permutations: int, seed: int
) -> list[tuple[Design, list[int]]]:
    """Designs of the wanted emotions, each with the places among `wanted` of those that share it.

    Parameters
    ----------
    n_texts
        Texts of each emotion in each group, shape (E, G).
    wanted
        Numbers of emotions.
    permutations
        Draws, or all arrangements if these are no more.
    seed
        Of the draws.
    """
    there = n_texts > 0
    cells = np.flatnonzero(there.reshape(-1))
    group = cells % n_texts.shape[1]
    if (there.sum(0) <= 1).all():
        group = np.zeros_like(group)
    blocks = tuple(np.flatnonzero(group == code) for code in np.unique(group))
    emotion = cells // n_texts.shape[1]
    sharing: dict[tuple[int, ...], list[int]] = {}
    for row, e in enumerate(wanted):
        taken = tuple(int((emotion[rows] == e).sum()) for rows in blocks)
        sharing.setdefault(taken, []).append(row)
    rng = np.random.default_rng(seed)
    found: list[tuple[Design, list[int]]] = []
    for taken, rows in sharing.items():
        own = {row: np.flatnonzero(emotion == wanted[row]) for row in rows}
        arrangements = math.prod(math.comb(len(block), count) for block, count in zip(blocks, taken, strict=True))
        exact = arrangements <= permutations
        picks = _all(blocks, taken) if exact else _random(blocks, taken, permutations, rng)
        found.append((Design(cells, blocks, taken, own, picks, arrangements, exact), rows))
    return found


def _all(blocks: Sequence[np.ndarray], taken: Sequence[int]) -> np.ndarray:
    """Every way to take so many places of each block, shape (arrangements, sum(taken))."""
    ways = [list(itertools.combinations(rows.tolist(), count)) for rows, count in zip(blocks, taken, strict=True)]
    return np.array([list(itertools.chain(*one)) for one in itertools.product(*ways)], dtype=np.int64)


def _random(blocks: Sequence[np.ndarray], taken: Sequence[int], n: int, rng: np.random.Generator) -> np.ndarray:
    parts: list[np.ndarray] = []
    for rows, count in zip(blocks, taken, strict=True):
        if count == 1:
            parts.append(rows[rng.integers(len(rows), size=(n, 1))])
        elif count:
            order = np.stack([rng.permutation(len(rows))[:count] for _ in range(n)])
            parts.append(rows[order])
    return np.concatenate(parts, axis=1)
