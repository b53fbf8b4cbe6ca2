"""Readers of generated texts: a probe at another site than the edited one, or a judge; each scores every emotion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from emovec_sae.directions.direction_set import DirectionSet
from emovec_sae.errors import ConfigError
from emovec_sae.models.model import Model
from emovec_sae.models.seam import forward
from emovec_sae.models.tokens import pad
from emovec_sae.recording.pooling import Tokens, pool_batch
from emovec_sae.sites import Site

_ROWS = 24
"""Texts of a pass."""
_POOLS = ("mean", "last", "max")


class TextReader(Protocol):
    """Something that scores texts by emotion; `TextProbe` and `emovec_sae.directions.judge.Judge` do."""

    @property
    def name(self) -> str:
        """What the outcome is called."""
        ...

    @property
    def emotions(self) -> tuple[str, ...]:
        """The emotions that it scores."""
        ...

    @property
    def fingerprint(self) -> str:
        """What tells it from others."""
        ...

    def read(self, texts: Sequence[str]) -> np.ndarray:
        """Scores, shape (texts, emotions); NaN rows for texts that it cannot read."""
        ...


class TextProbe:
    """Read texts with directions of a site: the text alone is run through the unedited model, without its prompt.

    Tokens are pooled as for the directions, but from the second one on: a generated text may be shorter than the
    directions' offset. A change against the base model's texts, which are read in the same way, is what this measures.

    Parameters
    ----------
    model
        The model; no edit is applied.
    directions
        Fitted on this model, at another site than the one that is edited.

    Raises
    ------
    MismatchError
        If the directions come from another model.
    ConfigError
        If they were pooled in a way that a plain text does not have.
    """

    name = "probe"

    def __init__(self, model: Model, directions: DirectionSet) -> None:
        directions.check_model(model.describe())
        if directions.pool not in _POOLS:
            raise ConfigError(
                f"a probe pools by {', '.join(_POOLS)}; these directions were pooled by {directions.pool}"
            )
        self.model = model
        self.directions = directions

    @property
    def site(self) -> Site:
        """Where it reads."""
        return self.directions.site

    @property
    def emotions(self) -> tuple[str, ...]:
        """All emotions of the set."""
        return self.directions.emotions

    @property
    def fingerprint(self) -> str:
        """That of the directions."""
        return self.directions.fingerprint

    def read(self, texts: Sequence[str]) -> np.ndarray:
        """z-scores of each emotion, shape (texts, emotions) float64; NaN for a text without two tokens."""
        found = np.full((len(texts), len(self.emotions)), np.nan)
        ids = {row: self.model.tokens.encode([text])[0] for row, text in enumerate(texts) if text.strip()}
        known = [row for row in ids if self.model.tokens.counted(ids[row]).any()]
        known.sort(key=lambda row: len(ids[row]))
        for start in range(0, len(known), _ROWS):
            rows = known[start : start + _ROWS]
            found[rows] = self.directions.read(self._pooled([ids[row] for row in rows]), readout="zscore")
        return found

    def _pooled(self, ids: list[list[int]]) -> np.ndarray:
        import torch

        batch = pad(ids, pad_id=self.model.tokens.pad_id, device=self.model.device)
        kept = torch.zeros_like(batch.mask)
        for row, one in enumerate(ids):
            kept[row, : len(one)] = torch.from_numpy(self.model.tokens.counted(one)).to(kept.device)
        values = forward(self.model, batch, read=[self.site]).values[self.site].float()
        pool = self.directions.pool
        return pool_batch(values, Tokens(kept, kept, kept), (pool,))[pool].double().cpu().numpy()


def check_apart(readers: Sequence[TextReader], edited: set[Site]) -> None:
    """Refuse a probe that reads where an arm edits, and two readers of one name.

    Raises
    ------
    ConfigError
        If so.
    """
    names = [reader.name for reader in readers]
    if len(set(names)) < len(names):
        raise ConfigError(f"readers are told apart by name; these are {', '.join(names)}")
    for reader in readers:
        if isinstance(reader, TextProbe) and reader.site in edited:
            raise ConfigError(
                f"the probe reads {reader.site}, the very site that the arms edit; fit directions at another site"
            )
