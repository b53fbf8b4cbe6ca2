"""One site of a store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from emovec_sae.sites import Site
from emovec_sae.store.stream import TokenChunk

if TYPE_CHECKING:
    from emovec_sae.store.reader import Activations


@dataclass(frozen=True)
class SiteActivations:
    """One site of a store."""

    activations: Activations
    site: Site

    def pooled(self, pool: str = "mean") -> np.ndarray:
        """See `Activations.pooled`."""
        return self.activations.pooled(self.site, pool)

    def tokens(self, *, chunk: int = 8192) -> Iterator[TokenChunk]:
        """See `Activations.tokens`."""
        return self.activations.tokens(self.site, chunk=chunk)

    def shuffled(self, *, batch: int, seed: int, buffer: int = 65536) -> Iterator[np.ndarray]:
        """See `Activations.shuffled`."""
        return self.activations.shuffled(self.site, batch=batch, seed=seed, buffer=buffer)

    def count_tokens(self) -> int:
        """See `Activations.count_tokens`."""
        return self.activations.count_tokens(self.site)

    def pooled_chunks(self, pool: str = "mean") -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """See `Activations.pooled_chunks`."""
        return self.activations.pooled_chunks(self.site, pool)

    def to_pandas(self, pool: str = "mean") -> pd.DataFrame:
        """See `Activations.to_pandas`."""
        return self.activations.to_pandas(self.site, pool)
