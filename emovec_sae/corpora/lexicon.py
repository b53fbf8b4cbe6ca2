"""Words that name or betray each core emotion, and the words of a contrast between emotions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from emovec_sae.corpora.emotions import DATA
from emovec_sae.errors import CorpusError, suggest
from emovec_sae.provenance import read_json

Lexicon = Mapping[str, Mapping[str, Sequence[str]]]
"""Emotion -> ``"tune"`` and ``"held_out"`` -> words."""


def load_lexicon() -> dict[str, dict[str, list[str]]]:
    """Read the packaged word lists of the 24 core emotions.

    Returns
    -------
    dict
        Emotion -> ``{"tune": words, "held_out": words}``. Latents and doses are chosen with the `tune` words; effects
        are reported on the `held_out` words only.
    """
    return read_json(DATA / "lexicon.json")["lexicon"]


def contrast_words(
    lexicon: Lexicon, *, use: Literal["tune", "held_out"], emotions: Iterable[str] | None = None
) -> dict[str, list[str]]:
    """Return the words that tell some emotions apart.

    A word in the lists of several of these emotions, whether `tune` or `held_out`, counts for none of them. Words are
    compared without regard to case.

    Parameters
    ----------
    lexicon
        As `load_lexicon` gives it.
    use
        The list to take words from.
    emotions
        The emotions of the contrast; all of the lexicon by default.

    Raises
    ------
    CorpusError
        If an emotion is not in the lexicon, or keeps no word.
    """
    names = list(lexicon) if emotions is None else list(emotions)
    for name in names:
        if name not in lexicon:
            raise CorpusError(f"emotion '{name}' has no words in the lexicon{suggest(name, lexicon)}")
    owners = Counter(
        word for name in names for word in {word.lower() for words in lexicon[name].values() for word in words}
    )
    kept = {name: [word for word in lexicon[name][use] if owners[word.lower()] == 1] for name in names}
    for name, words in kept.items():
        if not words:
            raise CorpusError(f"emotion '{name}' shares all of its {use} words with the others of this contrast")
    return kept
