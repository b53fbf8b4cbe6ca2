"""What the words alone give: TF-IDF on the same split, beside every score (science.md, pitfall 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

from emovec_sae.directions.threads import one_thread
from emovec_sae.errors import ConfigError

BASELINES = ("logistic", "centroid")
"""Readers of the TF-IDF table: logistic regression, or the cosine with each emotion's mean text."""

LOGISTIC_UP_TO = 48
"""``auto`` takes the stronger logistic reader up to this many emotions: with 171 it needs 6 s a fold, for nothing."""


def choose_baseline(name: str, n_emotions: int) -> str:
    """Resolve ``auto``; refuse what is not in `BASELINES`."""
    if name == "auto":
        return "logistic" if n_emotions <= LOGISTIC_UP_TO else "centroid"
    if name not in BASELINES:
        raise ConfigError(f"unknown baseline '{name}'; there are auto, {', '.join(BASELINES)}")
    return name


def has_words(texts: Sequence[str]) -> bool:
    """Whether any text has a word of two letters at least; without one there is nothing to count."""
    analyse = CountVectorizer().build_analyzer()
    return any(analyse(text) for text in texts)


def tfidf_scores(texts: Sequence[str], y: np.ndarray, folds: np.ndarray, *, kind: str) -> np.ndarray:
    """Scores of every text by a TF-IDF reader that was fitted on the other folds.

    Vocabulary and inverse document frequencies are those of the training texts, too.

    Parameters
    ----------
    texts
        The texts, n of them.
    y
        Emotion codes, shape (n,); each must occur outside every fold.
    folds
        Fold codes, shape (n,).
    kind
        ``logistic`` or ``centroid``.

    Returns
    -------
    np.ndarray
        Scores, shape (n, n_emotions); all alike, which reads nothing, if no text has a word.
    """
    n_emotions = int(y.max()) + 1
    scores = np.zeros((len(y), n_emotions))
    if not has_words(texts):
        return scores
    counts: Any = sparse.csr_matrix(CountVectorizer().fit_transform(texts))
    with one_thread():
        for fold in np.unique(folds):
            test = folds == fold
            train = counts[~test]
            seen = train.getnnz(axis=0) > 0
            weigh = TfidfTransformer().fit(train[:, seen])
            known, new = weigh.transform(train[:, seen]), weigh.transform(counts[test][:, seen])
            read = _centroid_scores if kind == "centroid" else _logistic_scores
            scores[test] = read(known, y[~test], new, n_emotions)
    return scores


def _centroid_scores(known: Any, y: np.ndarray, new: Any, n_emotions: int) -> np.ndarray:
    return (new @ _centroids(known, y, n_emotions).T).toarray()


def _logistic_scores(known: Any, y: np.ndarray, new: Any, n_emotions: int) -> np.ndarray:
    # C = 10: on tf-idf rows of unit length the default of 1 shrinks nearly to the class prior.
    scores = LogisticRegression(C=10.0, max_iter=2000).fit(known, y).decision_function(new)
    return np.stack([-scores, scores], axis=1) if n_emotions == 2 else scores


@dataclass(frozen=True, eq=False)
class WordCentroids:
    """A fitted TF-IDF reader, small enough to travel with a direction set.

    Attributes
    ----------
    vocabulary
        Words, v of them.
    idf
        Inverse document frequency of each, shape (v,).
    centroids
        Mean text of each emotion at unit length, sparse, shape (n_emotions, v).
    """

    vocabulary: tuple[str, ...]
    idf: np.ndarray
    centroids: Any

    @classmethod
    def fit(cls, texts: Sequence[str], y: np.ndarray, n_emotions: int) -> WordCentroids:
        """Fit on texts with emotion codes, shape (n,)."""
        count = CountVectorizer()
        counts = count.fit_transform(texts)
        weigh = TfidfTransformer().fit(counts)
        centroids = _centroids(weigh.transform(counts), y, n_emotions)
        return cls(tuple(map(str, count.get_feature_names_out())), weigh.idf_, centroids)

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """Cosine of each text with each emotion's mean text, shape (n_texts, n_emotions)."""
        counts = CountVectorizer(vocabulary=list(self.vocabulary)).transform(texts)
        return (normalize(counts @ sparse.diags(self.idf)) @ self.centroids.T).toarray()

    def arrays(self) -> dict[str, np.ndarray]:
        """Its numbers as plain arrays, for a file."""
        return {
            "words.idf": self.idf.astype(np.float32),
            "words.data": self.centroids.data.astype(np.float32),
            "words.indices": self.centroids.indices.astype(np.int32),
            "words.indptr": self.centroids.indptr.astype(np.int32),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], vocabulary: Sequence[str]) -> WordCentroids:
        """Undo `arrays`."""
        parts = (arrays["words.data"], arrays["words.indices"], arrays["words.indptr"])
        shape = (len(parts[2]) - 1, len(vocabulary))
        return cls(tuple(vocabulary), arrays["words.idf"], sparse.csr_matrix(parts, shape=shape))


def _centroids(weights: Any, y: np.ndarray, n_emotions: int) -> Any:
    """Mean row of each emotion at unit length, sparse, shape (n_emotions, v)."""
    member = sparse.csr_matrix((np.ones(len(y)), (y, np.arange(len(y)))), shape=(n_emotions, len(y)))
    return normalize(sparse.csr_matrix(member @ weights))
