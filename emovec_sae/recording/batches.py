"""Run batches of a plan: a batch that the device has no memory for is halved, and so are those after it."""

from __future__ import annotations

import gc
import logging
from collections.abc import Generator, Iterable, Sequence
from typing import TYPE_CHECKING

from emovec_sae.errors import ModelError
from emovec_sae.models.model import Model
from emovec_sae.models.seam import forward
from emovec_sae.models.tokens import Batch, pad
from emovec_sae.recording.texts import Texts
from emovec_sae.sites import Site

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

_FULL = ("out of memory", "can't allocate memory", "not enough memory")


class Runner:
    """Runs batches of a recording on a model.

    Attributes
    ----------
    limit
        Padded tokens that a batch may have since memory ran out; None as long as it has not.
    """

    def __init__(self, model: Model, texts: Texts, sites: Iterable[Site]) -> None:
        self.model = model
        self.texts = texts
        self.sites = list(sites)
        self.limit: int | None = None

    def run(self, rows: Sequence[int]) -> Generator[tuple[Sequence[int], Batch, dict[Site, Tensor]]]:
        """Give the activations of some texts, all at once or in parts where memory is short.

        Raises
        ------
        ModelError
            If the device has no memory for a single text.
        """
        size = len(rows) * int(self.texts.lengths[list(rows)].max())
        if self.limit is not None and size > self.limit and len(rows) > 1:
            yield from self._halves(rows)
            return
        found = self._try(rows)
        if found is not None:
            yield rows, *found
        elif len(rows) == 1:
            name = self.texts.frame["id"].iloc[rows[0]]
            raise ModelError(
                f"{self.model.device} has no memory for text '{name}' alone ({size} tokens); record fewer sites, split "
                "the text, or use a smaller dtype or another device"
            )
        else:
            self.limit = size // 2
            log.warning(
                "%s ran out of memory at %d padded tokens; going on with %d", self.model.device, size, self.limit
            )
            yield from self._halves(rows)

    def _halves(self, rows: Sequence[int]) -> Generator[tuple[Sequence[int], Batch, dict[Site, Tensor]]]:
        middle = len(rows) // 2
        for part in (rows[:middle], rows[middle:]):
            yield from self.run(part)

    def _try(self, rows: Sequence[int]) -> tuple[Batch, dict[Site, Tensor]] | None:
        """The activations, or None if memory ran out."""
        texts = [self.texts.ids[self.texts.where(row)] for row in rows]
        try:
            batch = pad(texts, pad_id=self.model.tokens.pad_id, device=self.model.device)
            return batch, forward(self.model, batch, read=self.sites).values
        except RuntimeError as error:
            if not any(one in str(error).lower() for one in _FULL):
                raise
        # after the handler: the traceback held the tensors of the failed pass
        gc.collect()
        if self.model.device.type == "cuda":
            import torch

            torch.cuda.empty_cache()
        return None
