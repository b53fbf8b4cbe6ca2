"""Texts with emotion, group and language as a tidy frame; packaged data; readers of pairs, prompts and words."""

from __future__ import annotations

from emovec_sae.corpora.emotions import Emotions, load_emotions
from emovec_sae.corpora.frame import COLUMNS, Corpus
from emovec_sae.corpora.lexicon import contrast_words, load_lexicon
from emovec_sae.corpora.norms import load_norms
from emovec_sae.corpora.packaged import CORPORA, load_corpus
from emovec_sae.corpora.pairs import load_pairs
from emovec_sae.corpora.prompts import load_prompts

__all__ = [
    "COLUMNS",
    "CORPORA",
    "Corpus",
    "Emotions",
    "contrast_words",
    "load_corpus",
    "load_emotions",
    "load_lexicon",
    "load_norms",
    "load_pairs",
    "load_prompts",
]
