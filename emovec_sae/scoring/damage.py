"""How much an edit disturbs a model: the divergence of its next-token distribution on neutral text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from emovec_sae.errors import CorpusError, ModelError
from emovec_sae.models.model import Model
from emovec_sae.models.seam import Edit, Prefix, forward, run_prefix
from emovec_sae.models.tokens import pad
from emovec_sae.sites import Site

if TYPE_CHECKING:
    from torch import Tensor

_CONTEXT = 32
_EARLIEST = 8
_ROWS = 16


class KLProbe:
    """Teacher-forced KL(base || edited) of the next-token distribution, at a fixed sample of positions.

    The texts are fed as they are (nothing is generated); the head runs on the sampled positions only, and the blocks
    below the edited site run once.

    Parameters
    ----------
    model
        The model.
    texts
        Neutral texts; the first tokens of each serve as context.
    site
        Edits will act at this site or above it.
    positions
        Number of scored positions, spread evenly over the texts that are used.
    per_text
        Positions of a text.
    seed
        Chooses texts and positions.

    Raises
    ------
    CorpusError
        If there are not enough texts of a sufficient length.
    """

    def __init__(
        self, model: Model, texts: Sequence[str], *, site: Site, positions: int = 128, per_text: int = 4, seed: int = 0
    ) -> None:
        import torch

        random = np.random.default_rng(seed)
        ids = [one[:_CONTEXT] for one in model.tokens.encode(texts) if len(one) >= _CONTEXT]
        need = -(-positions // per_text)
        if len(ids) < need:
            raise CorpusError(
                f"{positions} positions need {need} neutral texts of at least {_CONTEXT} tokens, got {len(ids)}"
            )
        self.model = model
        self.n_positions = need * per_text
        picked = [ids[index] for index in random.choice(len(ids), need, replace=False)]
        places = np.stack(
            [np.sort(random.choice(np.arange(_EARLIEST, _CONTEXT), per_text, replace=False)) for _ in picked]
        )
        self._parts: list[tuple[Prefix, Tensor]] = []
        for first in range(0, need, _ROWS):
            batch = pad(picked[first : first + _ROWS], pad_id=model.tokens.pad_id, device=model.device)
            where = torch.from_numpy(places[first : first + _ROWS]).to(model.device)
            self._parts.append((run_prefix(model, batch, site), where))
        self._base = self.log_probs()

    def log_probs(self, edits: Sequence[Edit] = ()) -> Tensor:
        """Log-probabilities at the sampled positions, (positions, vocabulary) float32."""
        import torch

        found = []
        for prefix, where in self._parts:
            final = forward(self.model, prefix.batch, edits=edits, prefix=prefix, final=True).final
            if final is None:
                raise ModelError("the model gave no final state")
            rows = torch.arange(len(where), device=where.device)[:, None]
            with torch.no_grad():
                found.append(self.model.head(final[rows, where].flatten(0, 1)).log_softmax(dim=-1))
        return torch.cat(found)

    def kl(self, edits: Sequence[Edit]) -> float:
        """Mean KL(base || edited) over the sampled positions, in nats."""
        edited = self.log_probs(edits)
        return float((self._base.exp() * (self._base - edited)).sum(dim=-1).mean())
