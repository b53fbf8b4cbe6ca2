"""EV002: whether the emotion can be told from the first word of a text alone."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from emovec_sae.directions.diagnostics.case import Case
from emovec_sae.directions.diagnostics.finding import Aspect
from emovec_sae.directions.diagnostics.held_out import held_out, told_from
from emovec_sae.directions.diagnostics.registry import diagnostic

FOLDS = 10
"""Most folds of whole groups."""

PRIOR = 1.0
"""Texts that the common distribution of first words counts for in each emotion."""

# In scripts without spaces a run of letters is a clause: there the first letter stands for the first word.
_WORD = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]|\w+")


@diagnostic("EV002", "first word", asks="Can the emotion be told from the first word of a text alone?")
def first_word(case: Case) -> list[Aspect]:
    """Read the emotion from the first word: how much more frequent it is in the emotion than at large."""
    held = held_out(case, most=FOLDS)
    words, names = pd.factorize(np.array([first(text) for text in case.texts], dtype=object)[held.rows], sort=True)
    scores = np.zeros((len(words), len(held.emotions)))
    for fold in np.unique(held.folds):
        test = held.folds == fold
        scores[test] = _ratios(words[~test], held.y[~test], len(names), len(held.emotions))[:, words[test]].T
    advice = "Vary how the texts of each emotion begin, or pool from a later token on."
    return [told_from("the first word", held, scores, seed=case.seed, advice=advice)]


def first(text: str) -> str:
    """The first word of a text, without regard to case; empty where there is none."""
    found = _WORD.search(text)
    return found.group().casefold() if found else ""


def _ratios(words: np.ndarray, y: np.ndarray, n_words: int, n_emotions: int) -> np.ndarray:
    """Log ratio of each word's share in an emotion to its share at large, shape (n_emotions, n_words).

    A word that was never seen says nothing: 0.
    """
    counts = np.zeros((n_emotions, n_words))
    np.add.at(counts, (y, words), 1)
    common = counts.sum(axis=0) / counts.sum()
    shares = (counts + PRIOR * common) / (counts.sum(axis=1, keepdims=True) + PRIOR)
    seen = common > 0
    return np.log(np.divide(shares, common, out=np.ones_like(shares), where=seen))
