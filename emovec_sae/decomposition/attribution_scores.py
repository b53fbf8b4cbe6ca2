"""Scores that a latent's attribution is an attribution of: log-odds of words at the next token, or a projection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from emovec_sae.corpora.lexicon import contrast_words, load_lexicon
from emovec_sae.errors import ConfigError
from emovec_sae.sites import Site

if TYPE_CHECKING:
    from torch import Tensor

    from emovec_sae.models.model import Model
    from emovec_sae.models.tokens import Batch


class Score(Protocol):
    """A differentiable score of every emotion."""

    @property
    def read(self) -> Site | None:
        """The site that the score reads; None means the states after the last norm."""
        ...

    def __call__(self, model: Model, states: Tensor, batch: Batch, columns: Sequence[int]) -> Tensor:
        """Scores (batch, len(columns)) of the emotions numbered `columns`, from states (batch, sequence, d_model)."""
        ...

    def describe(self) -> dict[str, Any]:
        """What a result records about the score."""
        ...


@dataclass(frozen=True)
class WordOdds:
    """Log-odds, in nats, of an emotion's tokens against the tokens of the others, at the token after the prompt.

    Attributes
    ----------
    emotions
        Names.
    own
        Token ids of each; no id belongs to two.
    rest
        Token ids that count against every emotion.
    """

    emotions: tuple[str, ...]
    own: tuple[tuple[int, ...], ...]
    rest: tuple[int, ...] = ()
    read: Site | None = None

    def __call__(self, model: Model, states: Tensor, batch: Batch, columns: Sequence[int]) -> Tensor:
        """Log of the summed probability of the own tokens minus that of the others', shape (batch, len(columns))."""
        import torch

        last = batch.mask.sum(1) - 1
        logits = model.head(states[torch.arange(len(last), device=last.device), last])
        tokens = [*(token for own in self.own for token in own), *self.rest]
        owner = np.repeat(np.arange(len(self.own) + 1), [*map(len, self.own), len(self.rest)])
        mine = torch.from_numpy(owner == np.asarray(columns)[:, None]).to(logits.device)
        few = logits[:, tokens][:, None]
        return few.masked_fill(~mine, -torch.inf).logsumexp(-1) - few.masked_fill(mine, -torch.inf).logsumexp(-1)

    def describe(self) -> dict[str, Any]:
        """The name of the score and how many tokens each emotion has."""
        return {"score": "log-odds of words", "tokens": dict(zip(self.emotions, map(len, self.own), strict=True))}


@dataclass(frozen=True, eq=False)
class Projection:
    """Dot product of a later residual at the prompt's last token with each emotion's unit vector there.

    Attributes
    ----------
    units
        Unit vectors, shape (n, d_model).
    read
        Their site.
    """

    units: np.ndarray
    read: Site | None

    def __call__(self, model: Model, states: Tensor, batch: Batch, columns: Sequence[int]) -> Tensor:
        """Projections at the last token, shape (batch, len(columns))."""
        import torch

        last = batch.mask.sum(1) - 1
        found = states[torch.arange(len(last), device=last.device), last].float()
        return found @ torch.from_numpy(self.units[list(columns)].astype(np.float32)).to(found).T

    def describe(self) -> dict[str, Any]:
        """The name of the score and its site."""
        return {"score": "projection", "score_site": str(self.read)}


def own_words(emotions: Iterable[str], words: Mapping[str, Sequence[str]] | None = None) -> dict[str, list[str]]:
    """Words of emotions: the given ones, or the lexicon's `tune` words, or for what it lacks the emotion's own name.

    The lexicon's other emotions are in the answer too, behind the wanted ones: they are what an emotion is told from.
    """
    names = list(emotions)
    if words is not None:
        missing = [name for name in names if not words.get(name)]
        if missing:
            raise ConfigError(f"no words were given for '{missing[0]}'; give each emotion some, or none at all")
        return {name: list(words[name]) for name in [*names, *(other for other in words if other not in names)]}
    known = contrast_words(load_lexicon(), use="tune")
    return {name: known.get(name, [name]) for name in [*names, *(other for other in known if other not in names)]}


def word_odds(model: Model, emotions: Sequence[str], *, words: Mapping[str, Sequence[str]] | None = None) -> WordOdds:
    """The log-odds score of emotions, on words that are one token of this model.

    Parameters
    ----------
    model
        The model, for its tokenizer.
    emotions
        Names.
    words
        Emotion -> its words; more emotions may be among them, whose words count against all. None: see `own_words`.

    Returns
    -------
    WordOdds
        A word counts if it is one token after a space; of an emotion without such a word the first tokens count. A
        token of two emotions counts for neither.

    Raises
    ------
    ConfigError
        If an emotion is left without a token of its own, or there is nothing to tell it from.
    """
    table = own_words(emotions, words)
    found = {name: _tokens(model, those) for name, those in table.items()}
    every = [token for tokens in found.values() for token in tokens]
    shared = {token for token in every if every.count(token) > 1}
    kept = {name: tuple(token for token in tokens if token not in shared) for name, tokens in found.items()}
    for name in emotions:
        if not kept[name]:
            raise ConfigError(
                f"'{name}' has no word whose first token is its own in this tokenizer; give others in words, or leave "
                "the emotion out"
            )
    rest = tuple(token for name, tokens in kept.items() if name not in emotions for token in tokens)
    if len(emotions) + len(rest) < 2:
        raise ConfigError("log-odds need words of at least two emotions")
    return WordOdds(tuple(emotions), tuple(kept[name] for name in emotions), rest)


def _tokens(model: Model, words: Sequence[str]) -> list[int]:
    """Tokens of the words that are one token after a space; failing those, the first token of each."""
    pieces = model.tokens.encode([f" {word}" for word in words], special=False)
    whole = [ids[0] for ids in pieces if len(ids) == 1] or [ids[0] for ids in pieces]
    return list(dict.fromkeys(whole))
