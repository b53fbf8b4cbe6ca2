"""Which texts are wanted from a writing model, in which order, and when there are enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from emovec_sae.corpora.requests import FreeText, Request, Stories, load_material, name_of
from emovec_sae.errors import ConfigError
from emovec_sae.provenance import digest

BLOCK = 512
"""Requests of free text that are made up at a time."""
_PATIENCE = 5
"""Free text ends early once so many times the requests were made that texts of full length would have needed."""


@dataclass(frozen=True)
class Sampling:
    """How texts are drawn, and how long those are that are kept.

    Attributes
    ----------
    length
        New tokens of a text at most.
    least, most
        Words of a text.
    temperature, top_p
        Of the sampling.
    seed
        With a text's number it decides that text's random numbers.
    """

    length: int = 160
    least: int = 40
    most: int = 140
    temperature: float = 0.9
    top_p: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise ConfigError(f"texts of {self.least} to {self.most} words: at least 1, and the smaller number first")
        if self.length < 1:
            raise ConfigError(f"length is {self.length}; a text needs at least 1 new token")
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}; it must be 0 or more")
        if self.temperature <= 0 or not 0 < self.top_p <= 1:
            raise ConfigError(f"temperature {self.temperature} must be above 0, top_p {self.top_p} in 0 to 1")


TEXT = Sampling(length=200, most=400)
"""How free text is drawn by default."""


@dataclass
class State:
    """Progress of a run, as it is noted.

    Attributes
    ----------
    round, queue, done
        Which round of requests, which slots it asks for, and how many of them were asked.
    asked, kept, kept_tokens, new_tokens
        Texts that were sampled and kept, tokens of the kept ones and of all.
    seconds
        Time of the sampling.
    dropped
        Texts by the reason that they were dropped for.
    """

    round: int = -1
    queue: list[int] = field(default_factory=list[int])
    done: int = 0
    asked: int = 0
    kept: int = 0
    kept_tokens: int = 0
    new_tokens: int = 0
    seconds: float = 0.0
    dropped: dict[str, int] = field(default_factory=dict[str, int])


class Plan(Protocol):
    """What a kind of corpus wants."""

    @property
    def emotions(self) -> Sequence[str]:
        """Emotions that texts are about."""
        ...

    def settings(self) -> dict[str, Any]:
        """What decides the requests."""
        ...

    def wanted(self) -> int:
        """Texts, or tokens, that make the corpus complete."""
        ...

    def reached(self, state: State) -> int:
        """Texts, or tokens, that were kept."""
        ...

    def queue(self, state: State, kept: set[str]) -> list[int]:
        """Slots of a round, given the ids that were kept; none ends the run."""
        ...

    def request(self, slot: int, numbers: np.random.Generator) -> Request:
        """The request of a slot."""
        ...


@dataclass(frozen=True)
class StoryPlan:
    """A story in every slot; where one was dropped, it is asked for again in the next round."""

    stories: Stories
    limit: int | None
    tries: int

    @property
    def emotions(self) -> Sequence[str]:
        """Emotions that texts are about."""
        return self.stories.emotions

    def settings(self) -> dict[str, Any]:
        """What decides the requests."""
        told = self.stories
        return {"emotions": list(told.emotions), "topics": dict(told.topics), "per": told.per, "limit": self.limit,
                "tries": self.tries, "material": digest(load_material().names)[:16]}  # fmt: skip

    def wanted(self) -> int:
        """Texts that make the corpus complete."""
        return min(len(self.stories), self.limit or len(self.stories))

    def reached(self, state: State) -> int:
        """Texts that were kept."""
        return state.kept

    def queue(self, state: State, kept: set[str]) -> list[int]:
        """Slots without a story yet."""
        if state.round >= self.tries:
            return []
        return [slot for slot in range(self.wanted()) if self.stories.request(slot, "").id not in kept]

    def request(self, slot: int, numbers: np.random.Generator) -> Request:
        """The request of a slot, with a name drawn."""
        return self.stories.request(slot, name_of(numbers))


@dataclass(frozen=True)
class TextPlan:
    """Free text until there is enough."""

    text: FreeText
    tokens: int
    limit: int | None
    length: int

    @property
    def emotions(self) -> Sequence[str]:
        """None: free text is about anything."""
        return ()

    def settings(self) -> dict[str, Any]:
        """What decides the requests."""
        known = load_material()
        material = digest([known.openings, known.subjects, known.forms])[:16]
        return {"tokens": self.tokens, "limit": self.limit, "material": material}

    def wanted(self) -> int:
        """Texts with a limit, tokens otherwise."""
        return self.limit or self.tokens

    def reached(self, state: State) -> int:
        """Texts, or tokens, that were kept."""
        return state.kept if self.limit else state.kept_tokens

    def queue(self, state: State, kept: set[str]) -> list[int]:
        """The next slots, unless there is enough, or hardly anything was kept."""
        first = state.round * BLOCK
        needed = self.limit or -(-self.tokens // self.length)
        if self.reached(state) >= self.wanted() or first >= _PATIENCE * needed + BLOCK:
            return []
        return list(range(first, first + BLOCK))

    def request(self, slot: int, numbers: np.random.Generator) -> Request:
        """The request of a slot."""
        return self.text.request(slot)
