"""How much an edit disturbs a model: the divergence of its next-token distribution on neutral text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from emovec_sae.errors import ConfigError, CorpusError, ModelError
from emovec_sae.models.model import Model
from emovec_sae.models.positions import marked
from emovec_sae.models.seam import Edit, Prefix, forward, run_prefix
from emovec_sae.models.tokens import pad
from emovec_sae.provenance import digest
from emovec_sae.sites import Site

if TYPE_CHECKING:
    from torch import Tensor

_CONTEXT = 32
_EARLIEST = 8
_ROWS = 16
_AT_ONCE = 16
"""Rows of log-probabilities that are compared at a time: what lies between them stays in the processor's caches."""


@dataclass(frozen=True, eq=False)
class Reading:
    """What a model does at the sampled positions.

    Attributes
    ----------
    states
        After the last norm, shape (positions, d_model).
    log_probs
        Of the next token, shape (positions, vocabulary), float32.
    """

    states: Tensor
    log_probs: Tensor


@dataclass(frozen=True)
class Fidelity:
    """How far an arm moves the model as the raw vector does.

    Attributes
    ----------
    explained_kl
        1 - KL(raw || arm) / KL(raw || base): 1 for the raw vector itself, 0 for an arm that does nothing, below 0 for
        one that leads elsewhere.
    cosine
        Cosine of the two changes of the states after the last norm, mean over positions.
    """

    explained_kl: float
    cosine: float


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

    Attributes
    ----------
    base
        What the unedited model does at the positions.
    settings
        What decided the sample, for records.

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
        whole = zip(texts, model.tokens.encode(texts), strict=True)
        long = [(text, one[:_CONTEXT]) for text, one in whole if len(one) >= _CONTEXT]
        ids = [one for _, one in long]
        need = -(-positions // per_text)
        if len(ids) < need:
            raise CorpusError(
                f"{positions} positions need {need} neutral texts of at least {_CONTEXT} tokens, got {len(ids)}"
            )
        self.model = model
        self.n_positions = need * per_text
        chosen = random.choice(len(ids), need, replace=False).tolist()
        picked = [ids[index] for index in chosen]
        self._texts = [long[index][0] for index in chosen]
        places = np.stack(
            [np.sort(random.choice(np.arange(_EARLIEST, _CONTEXT), per_text, replace=False)) for _ in picked]
        )
        self.settings = {
            "site": str(site),
            "texts": digest([list(map(int, one)) for one in picked]),
            "places": places.tolist(),
        }
        self._parts: list[tuple[Prefix, Tensor]] = []
        for first in range(0, need, _ROWS):
            batch = pad(picked[first : first + _ROWS], pad_id=model.tokens.pad_id, device=model.device)
            where = torch.from_numpy(places[first : first + _ROWS]).to(model.device)
            self._parts.append((run_prefix(model, batch, site), where))
        self.base = self.read()

    def log_probs(self, edits: Sequence[Edit] = ()) -> Tensor:
        """Log-probabilities at the sampled positions, (positions, vocabulary) float32."""
        return self.read(edits).log_probs

    def read(self, edits: Sequence[Edit] = ()) -> Reading:
        """States after the last norm and log-probabilities at the sampled positions, from one pass.

        Raises
        ------
        ConfigError
            If an edit acts on generated tokens, of which there are none, or on a role: the texts are plain.
        CorpusError
            If an edit acts on a span that a text does not have.
        """
        import torch

        states: list[Tensor] = []
        found: list[Tensor] = []
        for prefix, where in self.parts(edits):
            final = forward(self.model, prefix.batch, edits=edits, prefix=prefix, final=True).final
            if final is None:
                raise ModelError("the model gave no final state")
            rows = torch.arange(len(where), device=where.device)[:, None]
            states.append(final[rows, where].flatten(0, 1))
            with torch.no_grad():
                found.append(self.model.head(states[-1]).log_softmax(dim=-1))
        return Reading(torch.cat(states), torch.cat(found))

    def parts(self, edits: Sequence[Edit]) -> Iterator[tuple[Prefix, Tensor]]:
        """Batches of texts with the sampled positions of each, and the tokens marked that the edits' positions name."""
        wanted = [edit.positions for edit in edits]
        if "generated" in wanted:
            raise ConfigError("texts are read and nothing is generated: an edit at 'generated' would change nothing")
        for part, (prefix, where) in enumerate(self._parts):
            texts = self._texts[part * _ROWS : (part + 1) * _ROWS]
            yield replace(prefix, batch=marked(prefix.batch, self.model.tokens, texts, wanted)), where

    def kl(self, edits: Sequence[Edit]) -> float:
        """Mean KL(base || edited) over the sampled positions, in nats."""
        return divergence(self.base.log_probs, self.log_probs(edits))

    def fidelity(self, arm: Reading, raw: Reading) -> Fidelity:
        """How much of what the raw vector does to the model an arm does too.

        Parameters
        ----------
        arm, raw
            What `read` gave under the arm and under the raw vector.
        """
        import torch

        away = divergence(raw.log_probs, self.base.log_probs)
        explained = 1 - divergence(raw.log_probs, arm.log_probs) / away if away > 0 else float("nan")
        start = self.base.states.float()
        cosine = torch.nn.functional.cosine_similarity(arm.states.float() - start, raw.states.float() - start, dim=-1)
        return Fidelity(explained, float(cosine.mean()))


def divergence(one: Tensor, other: Tensor) -> float:
    """Mean KL(one || other) over rows of log-probabilities, in nats."""
    import torch

    rows: list[Tensor] = []
    for p, q in zip(one.split(_AT_ONCE), other.split(_AT_ONCE), strict=True):
        apart = p - q
        rows.append(apart.mul_(p.exp()).sum(dim=-1))
    return float(torch.cat(rows).mean())
