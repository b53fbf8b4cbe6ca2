"""A selection: latents of each emotion in the order of a selector, with the amounts in which an arm takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from emovec_sae.errors import ConfigError, suggest

if TYPE_CHECKING:
    from emovec_sae.decomposition.result import Decomposition
    from emovec_sae.models.model import Model
    from emovec_sae.saes.coder import SparseCoder

COLUMNS = ("emotion", "rank", "latent", "amount", "score")


@dataclass(frozen=True, eq=False)
class Sources:
    """What selectors draw on; each names what it misses.

    Attributes
    ----------
    contrast
        Decomposition by `contrast`: the candidates of an emotion (its ranks that are not dense), and the amounts of
        every selector that has none of its own.
    coder
        The SAE.
    others
        Decompositions by other methods, by name (``omp``, ``attribution``).
    model, prompts
        For selectors that run the model: neutral texts that no outcome is measured on.
    strength
        How far such a selector amplifies a latent, in mean residual norms.
    seed
        Of random draws.
    amplified
        Latent -> what amplifying it once gave (change of its own vocabulary, of the model's confidence). Give one dict
        to all sources of the same SAE, model, prompts and strength, and no latent is tried twice.
    """

    contrast: Decomposition
    coder: SparseCoder
    others: dict[str, Decomposition] = field(default_factory=dict)
    model: Model | None = None
    prompts: Sequence[str] = ()
    strength: float = 0.3
    seed: int = 0
    amplified: dict[int, tuple[float, float]] = field(default_factory=dict)

    def other(self, method: str) -> Decomposition:
        """A decomposition by another method."""
        if method not in self.others:
            raise ConfigError(f"the selector '{method}' needs a decomposition by {method} of the same vectors")
        return self.others[method]

    def candidates(self, emotion: str) -> pd.DataFrame:
        """Candidates of an emotion by falling Delta share: latent, coefficient, auroc where it was measured."""
        ranks = self.contrast.ranks
        own = ranks[(ranks["emotion"] == emotion) & ~ranks["dense"].fillna(value=False).astype(bool)]
        return own.sort_values("rank")


@dataclass(frozen=True, eq=False, repr=False)
class Selection:
    """What a selector chose.

    Attributes
    ----------
    selector
        Its name.
    table
        One row a latent of an emotion: emotion, rank (from 1), latent, amount (coefficient on the unit decoder row),
        score (what the order is by).
    sae, sae_fingerprint
        The SAE whose latents these are.
    source
        The decomposition whose amounts depend on how many latents are taken, or None where they are those of the table.
    """

    selector: str
    table: pd.DataFrame
    sae: str
    sae_fingerprint: str
    source: Decomposition | None = None

    def __repr__(self) -> str:
        return f"Selection({self.selector}, {self.table['emotion'].nunique()} emotions, up to {self.k} latents each)"

    @property
    def k(self) -> int:
        """Latents of the emotion that has most."""
        return int(self.table["rank"].max()) if len(self.table) else 0

    def frame(self) -> pd.DataFrame:
        """One row a latent of an emotion: emotion, rank, latent, amount, score."""
        return self.table.copy()

    def latents(self, emotion: str, k: int | None = None, *, dense: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """The first k latents of an emotion and their amounts; fewer where there are fewer.

        Parameters
        ----------
        emotion
            Which.
        k
            How many; None takes all.
        dense
            Accepted for the sake of decompositions, which know dense latents; a selection holds none.

        Raises
        ------
        ConfigError
            If nothing was selected for the emotion.
        """
        own = self.table[self.table["emotion"] == emotion].sort_values("rank")
        if own.empty:
            known = [str(one) for one in self.table["emotion"].unique()]
            raise ConfigError(f"nothing was selected for '{emotion}'{suggest(emotion, known)}")
        if self.source is not None and k is not None and k <= self.source.k:
            return self.source.latents(emotion, k, dense=False)
        first = own.head(len(own) if k is None else k)
        return first["latent"].to_numpy(), first["amount"].to_numpy()


def ordered(selector: str, sources: Sources, scores: dict[str, pd.DataFrame]) -> Selection:
    """A selection from a table of latent, amount, score for each emotion, best scores first.

    Equal scores keep the order in which they come.
    """
    parts: list[pd.DataFrame] = []
    for emotion, table in scores.items():
        own = table.sort_values("score", ascending=False, kind="stable").reset_index(drop=True)
        parts.append(own.assign(emotion=emotion, rank=np.arange(1, len(own) + 1))[list(COLUMNS)])
    found = pd.concat(parts, ignore_index=True)
    return Selection(selector, found, sources.contrast.sae, sources.contrast.sae_fingerprint)
