"""What a model is asked when it writes texts itself: stories of an emotion in a setting, or free text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from emovec_sae.corpora.emotions import DATA, load_emotions
from emovec_sae.errors import CorpusError, suggest
from emovec_sae.models.tokens import Tokens
from emovec_sae.provenance import read_json

TURN = "\nFeeling:"
"""Where a base model begins its next story."""


@dataclass(frozen=True)
class Material:
    """Names and beginnings that requests are made of.

    Attributes
    ----------
    topics
        Settings that the packaged stories do not have: name -> setting.
    names
        First names.
    subjects, forms
        What free text is about, and how it is asked for.
    openings
        First words of free text.
    """

    topics: Mapping[str, str]
    names: tuple[str, ...]
    subjects: tuple[str, ...]
    forms: tuple[str, ...]
    openings: tuple[str, ...]


@cache
def load_material() -> Material:
    """Read the packaged material."""
    found = read_json(DATA / "generation.json")
    lists = {name: tuple(found[name]) for name in ("names", "subjects", "forms", "openings")}
    return Material(topics=found["topics"], **lists)


@dataclass(frozen=True)
class Request:
    """One text that is wanted.

    Attributes
    ----------
    id, emotion, topic
        As the row will have them.
    ask
        The message to a chat model; of a base model, what stands before the text.
    opening
        How the text begins.
    chat
        Whether `ask` goes into the chat template.
    """

    id: str
    emotion: str | None
    topic: str
    ask: str
    opening: str
    chat: bool

    def encode(self, tokens: Tokens) -> list[int]:
        """Token ids of everything that the model reads before it goes on."""
        if not self.chat:
            return tokens.encode([self.ask + self.opening])[0]
        asked = tokens.render([{"role": "user", "content": self.ask}], reply=True)
        return tokens.encode([asked + self.opening], special=False)[0]


@dataclass(frozen=True)
class Stories:
    """Requests of stories: a slot for each emotion, topic and repetition.

    Attributes
    ----------
    emotions
        Names.
    topics
        Name -> setting.
    per
        Stories for each pair.
    chat
        Whether the model has a chat template.
    """

    emotions: Sequence[str]
    topics: Mapping[str, str]
    per: int
    chat: bool

    def __len__(self) -> int:
        return len(self.emotions) * len(self.topics) * self.per

    def request(self, slot: int, name: str) -> Request:
        """The request of a slot, about a person of that name."""
        pair, repeat = divmod(slot, self.per)
        emotion, topic = self.emotions[pair // len(self.topics)], list(self.topics)[pair % len(self.topics)]
        place = self.topics[topic]
        where = f"{emotion}.{topic}" + (f".{repeat + 1}" if self.per > 1 else "")
        if self.chat:
            ask = (
                f"Write a short story about {name}, who feels {emotion}. The setting: {place}. Show in what {name} "
                f"does, notices and thinks how that feels, in about 90 words. Never use the word '{emotion}'."
            )
        else:
            ask = (
                f"Short stories. Each shows a feeling and never names it.\n{TURN} {emotion}\nSetting: {place}\nStory: "
            )
        return Request(where, emotion, topic, ask, name, self.chat)


@dataclass(frozen=True)
class FreeText:
    """Requests of free text without end: openings to go on from, and, for a chat model, questions between them."""

    chat: bool

    def request(self, slot: int) -> Request:
        """The request of a slot; texts of one opening or subject share a topic."""
        material = load_material()
        number, odd = divmod(slot, 2) if self.chat else (slot, 0)
        if not odd:
            which = number % len(material.openings)
            opening = material.openings[which]
            return Request(f"text-{slot:06d}", None, f"opening-{which:03d}", "", opening, chat=False)
        which = number % len(material.subjects)
        form = material.forms[(number + number // len(material.subjects)) % len(material.forms)]
        ask = form.format(subject=material.subjects[which])
        return Request(f"text-{slot:06d}", None, f"subject-{which:03d}", ask, "", chat=True)


def name_of(numbers: np.random.Generator) -> str:
    """Draw a first name."""
    names = load_material().names
    return names[int(numbers.integers(len(names)))]


def choose_topics(wanted: str | Iterable[str]) -> dict[str, str]:
    """Topics by name.

    Parameters
    ----------
    wanted
        ``new`` for those that the packaged stories do not have, ``new:16`` for the first 16 of them, ``packaged``, or
        names of either kind, as a list or with commas between.

    Raises
    ------
    CorpusError
        If a name is unknown.
    """
    new, packaged = dict(load_material().topics), dict(load_emotions().topics)
    if isinstance(wanted, str):
        kind, sign, count = wanted.partition(":")
        if kind == "new" and (not sign or count.isdigit()):
            number = int(count) if sign else len(new)
            if not 1 <= number <= len(new):
                raise CorpusError(f"topics '{wanted}': there are {len(new)} new topics; say new:1 to new:{len(new)}")
            return dict(list(new.items())[:number])
        if wanted == "packaged":
            return packaged
    every = new | packaged
    return {name: every[name] for name in _names(wanted, every, "topic", "new, new:16 or packaged")}


def choose_emotions(wanted: str | Iterable[str]) -> list[str]:
    """Emotions by name: ``core``, ``all``, or names, as a list or with commas between.

    Raises
    ------
    CorpusError
        If a name is unknown.
    """
    known = load_emotions()
    sets = {"core": known.core, "all": known.emotions}
    if isinstance(wanted, str) and wanted in sets:
        return list(sets[wanted])
    return _names(wanted, known.emotions, "emotion", "core or all")


def _names(wanted: str | Iterable[str], known: Iterable[str], what: str, sets: str) -> list[str]:
    names = [part.strip() for part in wanted.split(",")] if isinstance(wanted, str) else list(wanted)
    there = list(known)
    for name in names:
        if name not in there:
            raise CorpusError(f"unknown {what} '{name}'{suggest(name, there)}; give names that there are, or {sets}")
    if not names:
        raise CorpusError(f"no {what} was given; give names, or {sets}")
    return list(dict.fromkeys(names))
