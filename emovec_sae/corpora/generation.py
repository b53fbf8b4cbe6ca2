"""Text that a model writes itself: stories of an emotion in a setting, or free text; sampled, filtered, resumable."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from emovec_sae.corpora.filters import Seen, cleaned, fault, naming_tokens
from emovec_sae.corpora.frame import Corpus, from_table
from emovec_sae.corpora.ledger import Ledger, opened
from emovec_sae.corpora.plans import TEXT, Plan, Sampling, State, StoryPlan, TextPlan
from emovec_sae.corpora.readers import read_table
from emovec_sae.corpora.requests import TURN, FreeText, Request, Stories, choose_emotions, choose_topics
from emovec_sae.errors import ConfigError, CorpusError, suggest
from emovec_sae.provenance import read_json

if TYPE_CHECKING:
    from emovec_sae.models.model import Model

log = logging.getLogger(__name__)

KINDS = ("stories", "text")


def generate_corpus(
    model: Model,
    *,
    out: str | Path,
    kind: Literal["stories", "text"] = "stories",
    emotions: str | Iterable[str] | None = None,
    topics: str | Iterable[str] | None = None,
    per: int | None = None,
    tokens: int | None = None,
    limit: int | None = None,
    tries: int = 4,
    batch: int = 96,
    sampling: Sampling | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Corpus:
    """Let a model write a corpus, and keep the texts that pass the filters.

    The same settings give the same texts: each has its own random numbers, whatever the batch (in low precision the
    rounding of a batch of another size can tip a token, and then that text goes another way). A run that was
    interrupted goes on; a finished file is returned as it is.

    Parameters
    ----------
    model
        The writer; one with a chat template is asked, a base model goes on from a beginning.
    out
        The ``.jsonl`` file; ``.json`` of the same name gets settings, counts and provenance.
    kind
        ``stories``: third person, an emotion in a setting, unnamed. ``text``: plain text of any kind, for SAEs.
    emotions
        ``core`` (the default), ``all``, or names.
    topics
        ``new`` (the default: 48 settings that the packaged stories do not have), ``new:16``, ``packaged``, or names.
    per
        Stories for each emotion and topic; 1 by default.
    tokens
        Free text: stop once so many tokens are kept; 20,000 by default.
    limit
        At most so many texts.
    tries
        A story that is dropped is asked for again, so many times in all.
    batch
        Texts that are sampled at once.
    sampling
        Length, words, temperature, seed.
    progress
        Called with (texts or tokens done, wanted).

    Returns
    -------
    Corpus
        Columns `id`, `text`, `emotion`, `group` (the topic), `lang`, `writer` (the model's name).

    Raises
    ------
    ConfigError
        If options do not go together.
    CorpusError
        If an emotion or topic is unknown, the file was made otherwise, or no text passed the filters.
    ModelError
        If requests are longer than the model's context.
    """
    drawn = sampling or sampling_of(kind)
    plan = _planned(
        model, kind, drawn, emotions=emotions, topics=topics,
        numbers={"per": per, "tokens": tokens, "limit": limit, "tries": tries, "batch": batch},
    )  # fmt: skip
    settings = {"kind": kind, **plan.settings(), **asdict(drawn), "model": model.describe()}
    path = Path(out)
    with opened(path, settings) as ledger:
        if not ledger.finished:
            _Run(model, plan, drawn, ledger, batch, progress).go()
    return from_table(read_table(path), name=path.stem, path=path)


def _planned(
    model: Model,
    kind: str,
    sampling: Sampling,
    *,
    emotions: str | Iterable[str] | None,
    topics: str | Iterable[str] | None,
    numbers: Mapping[str, int | None],
) -> Plan:
    """Check that the options go together, and make the plan of their kind."""
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise ConfigError(f"{name} is {value}; it must be at least 1")
    per, tokens, limit, tries = (numbers[name] for name in ("per", "tokens", "limit", "tries"))
    if kind == "text":
        if (emotions, topics, per) != (None, None, None):
            raise ConfigError("free text has no emotions, topics and per; it is counted in tokens")
        return TextPlan(FreeText(model.tokens.chat), tokens or 20_000, limit, sampling.length)
    if kind == "stories":
        if tokens is not None:
            raise ConfigError("stories are counted by per (for each emotion and topic) and limit; tokens is for text")
        names, places = choose_emotions(emotions or "core"), choose_topics(topics or "new")
        return StoryPlan(Stories(names, places, per or 1, model.tokens.chat), limit, tries or 1)
    raise ConfigError(f"unknown kind '{kind}'{suggest(kind, KINDS)}; there are {', '.join(KINDS)}")


def sampling_of(kind: str, *, seed: int = 0, **given: float | None) -> Sampling:
    """The usual sampling of a kind, with what is given and not None in its place."""
    usual = TEXT if kind == "text" else Sampling()
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return replace(usual, seed=seed, **chosen)


def generation_notes(path: str | Path) -> dict[str, Any]:
    """What is told beside a generated file: `settings`, `progress` (asked, kept, dropped by reason, seconds), model."""
    return read_json(Path(path).with_suffix(".json"))


@dataclass
class _Run:
    """One run: asks in batches, filters, writes."""

    model: Model
    plan: Plan
    sampling: Sampling
    ledger: Ledger
    batch: int
    progress: Callable[[int, int], None] | None
    banned: dict[str, list[int]] = field(default_factory=dict[str, list[int]])

    def go(self) -> None:
        """Ask until the plan is content; what each batch gave is safe before the next begins."""
        state = State(**(self.ledger.progress or {}))
        seen = Seen()
        for row in self.ledger.rows:
            seen.add(row["text"])
        self._tell(state)
        while self._more(state):
            for part in self._batches(state):
                rows = list(self._kept(part, state, seen))
                self.ledger.write(rows, asdict(state))
                self._tell(state)
                if self.plan.reached(state) >= self.plan.wanted():
                    break
        self._end(state)

    def _more(self, state: State) -> bool:
        """Go on in the queue at hand, or fill it anew; False when nothing is left to ask."""
        if self.plan.reached(state) >= self.plan.wanted():
            return False
        if state.done < len(state.queue):
            return True
        state.round, state.done = state.round + 1, 0
        state.queue = self.plan.queue(state, {row["id"] for row in self.ledger.rows})
        return bool(state.queue)

    def _batches(self, state: State) -> Iterator[list[tuple[Request, list[int], np.ndarray]]]:
        """Requests with their tokens and random numbers, sorted by length so that little is padded."""
        made: list[tuple[Request, list[int], np.ndarray]] = []
        for slot in state.queue:
            numbers = np.random.default_rng([self.sampling.seed, state.round, slot])
            request = self.plan.request(slot, numbers)
            made.append((request, request.encode(self.model.tokens), numbers.random(self.sampling.length)))
        order = sorted(range(len(made)), key=lambda row: (made[row][0].chat, len(made[row][1]), row))
        longest = max(len(ids) for _, ids, _ in made) + self.sampling.length
        if longest > self.model.context:
            raise ConfigError(
                f"a request and {self.sampling.length} new tokens make {longest}, {self.model.name} reads "
                f"{self.model.context}; give a smaller length"
            )
        for start in range(state.done, len(order), self.batch):
            part = order[start : start + self.batch]
            state.done = start + len(part)
            yield [made[row] for row in part]

    def _kept(
        self, part: list[tuple[Request, list[int], np.ndarray]], state: State, seen: Seen
    ) -> Iterator[dict[str, Any]]:
        """Rows of the texts of a batch that pass, until there are enough; the state counts all."""
        from emovec_sae.models.sampling import sample_ids

        started = time.monotonic()
        found = sample_ids(
            self.model, [ids for _, ids, _ in part], draws=np.stack([draws for _, _, draws in part]),
            temperature=self.sampling.temperature, top_p=self.sampling.top_p,
            banned=[self._banned(request.emotion) for request, _, _ in part],
        )  # fmt: skip
        state.seconds += time.monotonic() - started
        for (request, _, _), new in zip(part, found, strict=True):
            state.asked += 1
            state.new_tokens += len(new)
            written = request.opening + self.model.tokens.decode(new)
            text = cleaned(written.split(TURN)[0] if request.emotion else written)
            why = fault(text, emotion=request.emotion, least=self.sampling.least, most=self.sampling.most)
            why = why or seen.duplicate(text)
            if why:
                state.dropped[why] = state.dropped.get(why, 0) + 1
                continue
            seen.add(text)
            state.kept += 1
            state.kept_tokens += len(self.model.tokens.encode([text], special=False)[0])
            yield {"id": request.id, "text": text, "emotion": request.emotion, "topic": request.topic, "lang": "en",
                   "writer": self.model.name}  # fmt: skip
            if self.plan.reached(state) >= self.plan.wanted():
                return

    def _banned(self, emotion: str | None) -> list[int]:
        """Tokens that would name the emotion at once; words of several tokens are left to the filter."""
        if emotion is None:
            return []
        if not self.banned:
            strings = self.model.tokens.strings(range(len(self.model.tokens.tokenizer)))
            self.banned.update({name: naming_tokens(name, strings) for name in self.plan.emotions})
        return self.banned[emotion]

    def _tell(self, state: State) -> None:
        if self.progress is not None:
            self.progress(min(self.plan.reached(state), self.plan.wanted()), self.plan.wanted())

    def _end(self, state: State) -> None:
        told = dropped_line(state.dropped)
        if not state.kept:
            self.ledger.discard()
            raise CorpusError(f"none of {state.asked} texts by {self.model.name} passed the filters ({told})")
        if self.plan.reached(state) < self.plan.wanted():
            log.warning("%d of %d were kept; dropped: %s", self.plan.reached(state), self.plan.wanted(), told)
        self.ledger.finish(model=self.model.describe())


def kept_line(progress: Mapping[str, Any]) -> str:
    """What a run asked for, kept and dropped, from the `progress` of its notes."""
    asked, kept, tokens = (progress[name] for name in ("asked", "kept", "kept_tokens"))
    return f"{asked} asked for, {kept} kept with {tokens} tokens; dropped: {dropped_line(progress['dropped'])}"


def dropped_line(dropped: Mapping[str, int]) -> str:
    """Counts of dropped texts by reason, the most frequent first."""
    return ", ".join(f"{count} {why}" for why, count in sorted(dropped.items(), key=lambda one: -one[1])) or "none"
