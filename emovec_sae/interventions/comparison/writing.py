"""Write texts under conditions: rows of different arms share a batch, and each row has random numbers of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from emovec_sae.errors import ConfigError
from emovec_sae.interventions.comparison.conditions import Condition
from emovec_sae.interventions.comparison.instruction import instruct
from emovec_sae.interventions.comparison.names import INSTRUCTION
from emovec_sae.interventions.comparison.readers import TextReader
from emovec_sae.interventions.edits import ByRow
from emovec_sae.models.generate import generate_ids
from emovec_sae.models.model import Model
from emovec_sae.models.positions import locate
from emovec_sae.scoring.surprise import surprise
from emovec_sae.scoring.valence import mask_emotions
from emovec_sae.sites import Site


@dataclass(frozen=True)
class Sampling:
    """How texts are drawn.

    Attributes
    ----------
    seeds
        Texts a prompt, each with numbers of its own; the arms share them, so that texts are compared in pairs.
    new_tokens
        Most tokens of a text.
    temperature, top_p
        Of the law that is drawn from, among its 50 likeliest tokens.
    chat
        Write prompts in the chat template; None does so if the model has one.
    seed
        The one seed of all draws.
    """

    seeds: int = 2
    new_tokens: int = 40
    temperature: float = 0.7
    top_p: float = 0.95
    chat: bool | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.seeds < 1 or self.new_tokens < 1:
            raise ConfigError(f"{self.seeds} seeds of {self.new_tokens} new tokens; at least 1 of each is due")
        if self.temperature <= 0 or not 0 < self.top_p <= 1:
            raise ConfigError(
                f"temperature {self.temperature} must be above 0, and top_p {self.top_p} above 0 and at most 1"
            )

    def settings(self) -> dict[str, Any]:
        """For records."""
        return asdict(self)

    def draws(self, seed: int, prompt: int) -> np.ndarray:
        """Numbers in [0, 1) of the text with this seed after this prompt, one a token."""
        return np.random.default_rng([self.seed, seed, prompt]).random(self.new_tokens)


class Writer:
    """Writes and reads the texts of conditions.

    Parameters
    ----------
    model
        The model.
    prompts
        Texts to answer.
    sampling
        How.
    readers
        Who reads the texts, as they are and without words of emotion.
    batch
        Texts that are generated at once.
    """

    def __init__(
        self,
        model: Model,
        prompts: Sequence[str],
        sampling: Sampling,
        readers: Sequence[TextReader] = (),
        *,
        batch: int = 24,
    ) -> None:
        self._model, self._sampling, self._readers, self._batch = model, sampling, readers, batch
        self._prompts = list(prompts)
        self._chat = model.tokens.chat if sampling.chat is None else sampling.chat
        self._plain = self._ids(self._prompts)

    @property
    def per_condition(self) -> int:
        """Texts of a condition."""
        return len(self._prompts) * self._sampling.seeds

    def write(
        self, conditions: Sequence[Condition], progress: Callable[[int], None] | None = None
    ) -> Iterator[tuple[Condition, pd.DataFrame]]:
        """Yield each condition with its texts as soon as they are whole.

        Parameters
        ----------
        conditions
            Who writes; those whose edits act at one place share batches.
        progress
            Called with the number of texts that a batch added.

        Yields
        ------
        tuple
            The condition, and one row a text: prompt, seed, text, tokens (ids), surprise (nats a token, under the
            unedited model, behind the plain prompt), and a list of scores for each reader as it is and ``masked``.
        """
        for some in _by_place(conditions):
            cells = [(one, seed, row) for one in some for row in range(len(self._prompts))
                     for seed in range(self._sampling.seeds)]  # fmt: skip
            kept: list[pd.DataFrame] = []
            given = 0
            for start in range(0, len(cells), self._batch):
                part = cells[start : start + self._batch]
                kept.append(self._texts(part))
                if progress is not None:
                    progress(len(part))
                table = pd.concat(kept, ignore_index=True)
                whole = len(table) // self.per_condition
                for number in range(whole):
                    first = number * self.per_condition
                    yield some[given], table.iloc[first : first + self.per_condition].reset_index(drop=True)
                    given += 1
                rest = table.iloc[whole * self.per_condition :]
                kept = [rest] if len(rest) else []

    def _texts(self, part: Sequence[tuple[Condition, int, int]]) -> pd.DataFrame:
        """A batch of texts with their numbers."""
        edits = [one.edit for one, _, _ in part]
        known = next((edit for edit in edits if edit is not None), None)
        by_row = [] if known is None else [ByRow(edits, known.site, known.positions)]
        answers = generate_ids(
            self._model, [self._prompt(one, row) for one, _, row in part], edits=by_row,
            max_new_tokens=self._sampling.new_tokens, temperature=self._sampling.temperature,
            top_p=self._sampling.top_p, draws=np.stack([self._sampling.draws(seed, row) for _, seed, row in part]),
        )  # fmt: skip
        ids = [self._model.tokens.unpadded(one) for one in answers.tolist()]
        texts = [self._model.tokens.decode(one).strip() for one in ids]
        found: dict[str, Any] = {"prompt": [row for _, _, row in part], "seed": [seed for _, seed, _ in part]}
        found |= {"text": texts, "tokens": ids}
        found["surprise"] = surprise(self._model, [self._plain[row] for _, _, row in part], ids)
        masked = [mask_emotions(text) for text in texts]
        for reader in self._readers:
            found[reader.name] = list(reader.read(texts).astype(np.float32))
            found[f"{reader.name}, masked"] = list(reader.read(masked).astype(np.float32))
        return pd.DataFrame(found)

    def _prompt(self, condition: Condition, row: int) -> list[int]:
        if condition.name != INSTRUCTION or condition.emotion is None:
            return self._plain[row]
        return self._ids([instruct(self._prompts[row], condition.emotion)])[0]

    def _ids(self, prompts: Sequence[str]) -> list[list[int]]:
        return locate(self._model.tokens, prompts, [], chat=self._chat)[0]


def _by_place(conditions: Sequence[Condition]) -> list[list[Condition]]:
    """Conditions that can share a batch; those without edits join the first of them."""
    places: dict[tuple[Site, str] | None, list[Condition]] = {None: []}
    for one in conditions:
        place = None if one.arm is None else (one.arm.edit.site, one.arm.edit.positions)
        places.setdefault(place, []).append(one)
    free, *groups = places.values()
    if not groups:
        return [free]
    return [[*free, *groups[0]], *groups[1:]]
