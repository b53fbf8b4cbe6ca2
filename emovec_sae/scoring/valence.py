"""Valence of a text by VADER, and texts without the words of emotion."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from emovec_sae.corpora.emotions import load_emotions
from emovec_sae.corpora.filters import naming
from emovec_sae.corpora.lexicon import load_lexicon


def valence(texts: Sequence[str]) -> np.ndarray:
    """Compound valence of each text: from -1 (negative) to 1 (positive), 0 where no word is known.

    VADER adds the ratings of known words, with rules for negation, degree and emphasis. It knows words and not what
    happens: an unpleasant scene in plain words has valence 0.

    Returns
    -------
    numpy.ndarray
        Shape (texts,) float64.

    References
    ----------
    Hutto and Gilbert 2014, VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text.
    """
    read = _reader()
    return np.array([read.polarity_scores(text)["compound"] for text in texts], dtype=float)


@cache
def _reader() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()  # reads its own files; nothing is fetched


@cache
def emotion_words() -> tuple[str, ...]:
    """Names of the 171 emotions and all words of the packaged lexicon, in lower case, each once."""
    lists = (word for words in load_lexicon().values() for some in words.values() for word in some)
    return tuple(dict.fromkeys(word.lower() for word in (*load_emotions().emotions, *lists)))


def mask_emotions(text: str) -> str:
    """A text without its words of emotion.

    Every form of `emotion_words` is taken out by the rules that keep generated stories from naming their emotion
    (`emovec_sae.corpora.filters.naming`: ``afraid``, ``Happiness``, ``worried's``), as whole words in either case; the
    rest is closed up. Nothing is put in their place, since the model would read that too.
    """
    bare = _WORD.sub(lambda found: " " if _names(found[1].casefold()) else found[0], _phrases().sub(" ", text))
    return re.sub(r"\s+", " ", re.sub(r"\s+(?=[,.;:!?])", "", bare)).strip()


_WORD = re.compile(r"([^\W_]+)(?:['’]s\b)?")


@cache
def _names(word: str) -> bool:
    """Whether a word names an emotion; texts repeat their words, and 440 patterns are slow."""
    words = emotion_words()
    return word in words or any(naming(one).fullmatch(word) for one in words)


@cache
def _phrases() -> re.Pattern[str]:
    """Emotion words of several parts: ``worn out``, ``self-confident``."""
    return re.compile("|".join(naming(word).pattern for word in emotion_words() if not word.isalpha()), re.IGNORECASE)
