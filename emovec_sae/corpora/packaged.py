"""load_corpus: the packaged texts by name, a file of one's own, or a data set of the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from emovec_sae.corpora.emotions import DATA
from emovec_sae.corpora.frame import Corpus, from_table
from emovec_sae.corpora.hub import PREFIX, read_hub
from emovec_sae.corpora.intensity import load_intensity
from emovec_sae.corpora.layouts import read_layout
from emovec_sae.corpora.readers import READERS, read_table
from emovec_sae.errors import CorpusError, suggest

CORPORA = {
    "stories": "171 emotions x 16 topics, third person; the emotion is never named",
    "neutral": "120 expository paragraphs and 120 short task dialogues, free of feeling",
    "scenarios": "24 core emotions x 6 first-person messages that imply the emotion",
    "multilingual": "12 emotions x 6 topics in Spanish, French, German and Chinese",
    "prompts": "stems at which a feeling word is due, and open prompts for generation",
    "intensity": "16 templates x 8 values: only the number differs",
    "activities": "64 activities that an assistant may be asked to do",
}
"""Packaged corpora: name -> what it is."""

OTHER_READERS = {
    "pairs": "load_pairs",
    "behaviours": "load_battery",
    "lexicon": "load_lexicon",
    "norms": "load_norms",
    "emotions": "load_emotions",
}


def load_corpus(
    name_or_path: str | Path,
    *,
    emotions: str | Iterable[str] | None = None,
    groups: str | Iterable[str] | None = None,
    layout: str | None = None,
) -> Corpus:
    """Load texts as one tidy, validated frame.

    Parameters
    ----------
    name_or_path
        The name of a packaged corpus (see `CORPORA`), or the path of a ``.jsonl``, ``.csv`` or ``.parquet`` file with
        a column `text` and optionally `id`, `emotion`, `group` (or `topic`), `split`, `lang` and others; or
        ``hf:owner/name``, with ``:config`` and ``@split`` where a data set of the hub has several.
    emotions
        Keep these only: ``"core"``, or names as a list or with commas between; all by default.
    groups
        Keep these only: ``"demo"`` (the eight demo topics of the stories), or names; all by default.
    layout
        The file is one of a known data set, see `emovec_sae.corpora.layouts.LAYOUTS`: ``goemotions``, ``isear``,
        ``crowd-envent``, ``emobank``, ``brighter``.

    Returns
    -------
    Corpus
        With `frame`, `name`, `path` and `fingerprint`.

    Raises
    ------
    CorpusError
        If there is no such corpus or file, if the file cannot be read (the message names line and column), or if an
        emotion or group does not occur in it.

    Examples
    --------
    >>> load_corpus("stories", emotions="core", groups="demo")
    Corpus 'stories': 192 texts, 24 emotions, 8 groups, en; ...
    """
    text = str(name_or_path)
    if text.startswith(PREFIX):
        table, name = read_hub(text, layout=layout)
        return _kept(from_table(table, name=name), emotions, groups)
    if layout is not None:
        if text in CORPORA:
            raise CorpusError(
                f"'{text}' is a packaged corpus and has no layout; a layout is for the file of a data set"
            )
        return _kept(read_layout(text, layout), emotions, groups)
    if text == "intensity":
        return _kept(load_intensity(), emotions, groups)
    path = _locate(name_or_path)
    return _kept(from_table(read_table(path), name=path.stem, path=path), emotions, groups)


def _kept(corpus: Corpus, emotions: str | Iterable[str] | None, groups: str | Iterable[str] | None) -> Corpus:
    if emotions is None and groups is None:
        return corpus
    return corpus.select(emotions=emotions, groups=groups)


def _locate(name_or_path: str | Path) -> Path:
    text = str(name_or_path)
    if text in CORPORA:
        return DATA / f"{text}.jsonl"
    if text in OTHER_READERS:
        raise CorpusError(f"'{text}' is no corpus of texts; read it with {OTHER_READERS[text]}()")
    path = Path(name_or_path)
    if not path.suffix and not path.exists():
        raise CorpusError(
            f"unknown corpus '{text}'{suggest(text, CORPORA)}; packaged corpora are {', '.join(CORPORA)}, "
            f"or give the path of a {', '.join(READERS)} file"
        )
    return path
