"""What an edit does on neutral text, in three measures that a dose can be matched by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from emovec_sae.errors import ConfigError
from emovec_sae.models.model import Model
from emovec_sae.models.seam import Edit, forward
from emovec_sae.scoring.damage import KLProbe
from emovec_sae.sites import Site

if TYPE_CHECKING:
    from torch import Tensor


class NeutralProbe(KLProbe):
    """`KLProbe` with two more measures at the same positions: how far the stream moves, and the perplexity.

    Parameters
    ----------
    model, texts, site, positions, per_text, seed
        As in `KLProbe`.
    residual_norm
        Mean residual norm at the site, the unit of `norm`; a `DirectionSet` carries it.
    """

    def __init__(
        self,
        model: Model,
        texts: Sequence[str],
        *,
        site: Site,
        residual_norm: float | None = None,
        positions: int = 128,
        per_text: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__(model, texts, site=site, positions=positions, per_text=per_text, seed=seed)
        self.residual_norm = residual_norm
        self._base_surprise = self._surprise(self.log_probs())

    def norm(self, edits: Sequence[Edit]) -> float:
        """Mean length of what the edits change in the stream at their site, in mean residual norms.

        Raises
        ------
        ConfigError
            If `residual_norm` is not known, or the edits act at several sites.
        """
        import torch

        if self.residual_norm is None:
            raise ConfigError("a dose by norm is in mean residual norms of the site; give residual_norm")
        sites = {edit.site for edit in edits}
        if len(sites) != 1:
            raise ConfigError(f"a dose by norm is measured at one site, these edits act at {len(sites)}")
        site = sites.pop()
        lengths: list[Tensor] = []
        for prefix, where in self.parts(edits):
            base, moved = (
                forward(self.model, prefix.batch, read=[site], edits=some, prefix=prefix).values[site]
                for some in ((), edits)
            )
            rows = torch.arange(len(where), device=where.device)[:, None]
            lengths.append((moved[rows, where].float() - base[rows, where].float()).norm(dim=-1).flatten())
        return float(torch.cat(lengths).mean()) / self.residual_norm

    def perplexity(self, edits: Sequence[Edit]) -> float:
        """Perplexity of the texts' own next tokens under the edits, over that of the unedited model."""
        return float(np.exp(self._surprise(self.log_probs(edits)) - self._base_surprise))

    def _surprise(self, log_probs: Tensor) -> float:
        """Mean negative log-probability of the token that follows each position; the last of a text has none."""
        import torch

        following: list[Tensor] = []
        for prefix, where in self._parts:
            ids = torch.nn.functional.pad(prefix.batch.input_ids[:, 1:], (0, 1), value=-1)
            following.append(ids.gather(1, where).flatten())
        tokens = torch.cat(following)
        kept = tokens >= 0
        return -float(log_probs[kept].gather(1, tokens[kept, None]).double().mean())
