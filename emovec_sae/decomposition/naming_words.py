"""Tokens of an emotion's words: those that name it, words held back, and words of the same side of valence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from emovec_sae.corpora.lexicon import Lexicon, load_lexicon
from emovec_sae.corpora.norms import load_norms

if TYPE_CHECKING:
    from emovec_sae.models.model import Model

MIDDLE = 5.0
"""Valence between pleasant and unpleasant, on the scale of 1 to 9."""
CLEAR = 1.0
"""Other emotions count as pleasant or unpleasant if they are so far from the middle."""


@dataclass(frozen=True)
class WordTokens:
    """Token ids of one emotion; no two of the last four lists share a token with `masked` or each other.

    Attributes
    ----------
    naming
        Whole tokens of its name and `tune` words after a space, as they are and capitalised; where there is none the
        first tokens of these.
    masked
        First tokens of all forms of its name and `tune` words, with and without a space before them: what is taken out
        of the distribution. `naming` is among them.
    held_out, held_out_others
        Tokens of its `held_out` words, and of those of the other emotions.
    congruent, incongruent
        Tokens of the words of other emotions on its own side of valence, and on the other; its own words are in
        neither.
    """

    naming: tuple[int, ...]
    masked: tuple[int, ...]
    held_out: tuple[int, ...]
    held_out_others: tuple[int, ...]
    congruent: tuple[int, ...]
    incongruent: tuple[int, ...]


def word_tokens(
    model: Model,
    emotions: Sequence[str],
    *,
    lexicon: Lexicon | None = None,
    valence: Mapping[str, float] | None = None,
) -> list[WordTokens]:
    """Tokens of each emotion.

    Parameters
    ----------
    model
        The model, for its tokenizer.
    emotions
        Names. One that the lexicon lacks has its name alone, and no held-out words.
    lexicon
        As `load_lexicon` gives it; None means that.
    valence
        Emotion -> 1 to 9; None means the packaged ratings. An emotion without a rating has no congruent words.
    """
    known = load_lexicon() if lexicon is None else lexicon
    if valence is None:
        norms = load_norms()
        valence = dict(zip(norms["emotion"], norms["valence"], strict=True))
    return [_tokens_of(model, name, known, valence) for name in emotions]


def _tokens_of(model: Model, name: str, known: Lexicon, valence: Mapping[str, float]) -> WordTokens:
    lists = known.get(name, {})
    named, held = [name, *lists.get("tune", ())], list(lists.get("held_out", ()))
    after_space = [form for word in named for form in (f" {word}", f" {word[:1].upper()}{word[1:]}")]
    naming = _whole(model, after_space) or _first(model, after_space)
    masked = _first(model, [*after_space, *(form[1:] for form in after_space)])
    others = {other: words for other, words in known.items() if other != name}
    own_held = _after_space(model, held) - masked
    their_held = _after_space(model, (word for words in others.values() for word in words["held_out"])) - masked
    side = np.sign(valence.get(name, MIDDLE) - MIDDLE)
    sides: list[set[int]] = [set(), set()]
    own = {word.lower() for word in (*named, *held)}
    for other, words in others.items():
        away = (valence.get(other, MIDDLE) - MIDDLE) * side
        if abs(away) >= CLEAR:
            some = [word for list_ in words.values() for word in list_ if word.lower() not in own]
            sides[0 if away > 0 else 1] |= _after_space(model, some)
    taken = masked | own_held
    congruent, incongruent = sides[0] - sides[1] - taken, sides[1] - sides[0] - taken
    found = (naming, masked, own_held - their_held, their_held - own_held, congruent, incongruent)
    return WordTokens(*(tuple(sorted(tokens)) for tokens in found))


def _after_space(model: Model, words: Iterable[str]) -> set[int]:
    """Tokens of words that are one token after a space."""
    return _whole(model, [f" {word}" for word in words])


def _whole(model: Model, forms: Sequence[str]) -> set[int]:
    return {ids[0] for ids in model.tokens.encode(list(forms), special=False) if len(ids) == 1}


def _first(model: Model, forms: Sequence[str]) -> set[int]:
    return {ids[0] for ids in model.tokens.encode(list(forms), special=False)}
