"""Which generated texts are kept: cleaned, of the right length, not naming their emotion, no duplicates."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from hashlib import blake2b

_SUFFIXES = ("ical", "ful", "ing", "ous", "ed", "ic", "e")
_ENDS = r"(?:e|ed|es|er|ers|ely|ing\w*|eful\w*|edom|eless\w*)"
_FORMS = r"(?:s|ly|ness|er|est|ed|ing|den\w*|ful\w*|dened|dening|dest|der)?"
_RELATED = {
    "angry": ("anger",), "ashamed": ("shame",), "depressed": ("depression",), "desperate": ("despair",),
    "envious": ("envy",), "furious": ("fury",), "grateful": ("gratitude",), "grief-stricken": ("grief", "grieving"),
    "hysterical": ("hysteria",), "joyful": ("joy",), "proud": ("pride",), "relieved": ("relief",),
}  # fmt: skip
"""Words of the same root that the rules below would miss."""
_GRAM = 5
"""Words of a gram by which texts are compared."""
NEAR = 0.5
"""Jaccard similarity of the sets of word 5-grams from which on two texts are near-duplicates."""
REPEATED = 0.25
"""Share of repeated word 3-grams from which on a text repeats itself."""
_SENTENCE_END = re.compile(r"[.!?…]+[\"”’')\]]*(?=\s|$)")
_HEADING = re.compile(r"^\s*(?:#+ .*|\*\*[^*\n]+\*\*|(?:title|story)\s*:.*)\n+", re.IGNORECASE)


@cache
def naming(emotion: str) -> re.Pattern[str]:
    """Pattern of the words that name an emotion: its stem with any ending, and a few of the same root.

    Short stems would be found in too many other words (``mad`` in ``made``): of them, inflected forms only.
    """
    parts = [_stemmed(emotion), *(rf"{word}\w*" for word in _RELATED.get(emotion, ()))]
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(parts)})(?![^\W_])", re.IGNORECASE)


def naming_tokens(emotion: str, strings: Sequence[str]) -> list[int]:
    """Tokens of a vocabulary that are, by themselves, a word that names the emotion."""
    pattern = naming(emotion)
    return [token for token, text in enumerate(strings) if pattern.fullmatch(text.strip())]


def _stemmed(emotion: str) -> str:
    word = emotion.casefold()
    if not word.isalpha():  # "worn out", "self-confident"
        return r"[\s-]+".join(re.escape(part) for part in re.split(r"[\s-]+", word))
    if word.endswith(("y", "ied")):  # happy, happiness; worried, worry
        stem = word.removesuffix("y").removesuffix("ied")
        return rf"{stem}\w*" if word.endswith("y") and len(stem) > 4 else rf"{stem}(?:y|i)\w*"
    suffix = next((one for one in _SUFFIXES if word.endswith(one) and len(word) - len(one) >= 3), "")
    stem = word.removesuffix(suffix)
    if len(stem) > 4 or (suffix and len(stem) == 4):
        return rf"{stem}\w*"
    return stem + (_ENDS if suffix else _FORMS)


def cleaned(text: str) -> str:
    """Cut headings, quotation marks around the whole, and an unfinished last sentence; even out white space."""
    text = _HEADING.sub("", text.strip())
    text = re.sub(r"[ \t]+", " ", re.sub(r"\s*\n\s*", "\n", text)).strip()
    ends = [found.end() for found in _SENTENCE_END.finditer(text)]
    text = text[: ends[-1]] if ends else ""
    whole = len(text) > 1 and text[0] == '"' and text[-1] == '"' and text.count('"') == 2
    return text[1:-1].strip() if whole else text


def fault(text: str, *, emotion: str | None, least: int, most: int) -> str | None:
    """Say why a cleaned text is not kept, or None.

    Parameters
    ----------
    text
        As `cleaned` gives it.
    emotion
        The emotion that it must not name.
    least, most
        Words that it may have.
    """
    words = _words(text)
    if not words:
        return "no finished sentence"
    if len(words) < least:
        return "too short"
    if len(words) > most:
        return "too long"
    if emotion is not None and naming(emotion).search(text):
        return "names the emotion"
    if "\ufffd" in text or "\0" in text:
        return "broken characters"
    grams = list(zip(words, words[1:], words[2:], strict=False))
    if 1 - len(set(grams)) / len(grams) >= REPEATED:
        return "repeats itself"
    return None


class Seen:
    """The texts that were kept so far, to find duplicates of; memory grows with their words."""

    def __init__(self) -> None:
        self._texts: set[bytes] = set()
        self._sizes: list[int] = []
        self._owners: dict[int, list[int]] = {}

    def duplicate(self, text: str) -> str | None:
        """``duplicate`` or ``near-duplicate`` of a text that was added, or None."""
        if self._exact(text) in self._texts:
            return "duplicate"
        grams = _grams(text)
        shared = Counter(owner for gram in grams for owner in self._owners.get(gram, ()))
        for owner, count in shared.items():
            if count >= NEAR * (len(grams) + self._sizes[owner] - count):
                return "near-duplicate"
        return None

    def add(self, text: str) -> None:
        """Remember a text."""
        grams = _grams(text)
        for gram in grams:
            self._owners.setdefault(gram, []).append(len(self._sizes))
        self._sizes.append(len(grams))
        self._texts.add(self._exact(text))

    @staticmethod
    def _exact(text: str) -> bytes:
        return blake2b(" ".join(_words(text)).encode(), digest_size=16).digest()


def _words(text: str) -> list[str]:
    return re.findall(r"\w+(?:['’]\w+)*", text.casefold())


def _grams(text: str) -> set[int]:
    words = _words(text)
    size = min(_GRAM, len(words))
    return {
        int.from_bytes(blake2b(" ".join(words[start : start + size]).encode(), digest_size=8).digest(), "big")
        for start in range(len(words) - size + 1)
    }
