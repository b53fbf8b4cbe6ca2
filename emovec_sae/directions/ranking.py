"""What a table of scores says of each text: the rank of its own emotion, and how it stands out among the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

METRICS = ("top1", "top5", "auroc")
"""Share of texts whose own emotion ranks first, in the first five; area under the ROC curve."""

_COLUMNS = 1024


@dataclass(frozen=True, eq=False)
class Ranked:
    """Readings of m texts.

    Attributes
    ----------
    rank
        Rank of the text's own emotion among all, from 1, shape (m,); a tie counts against it.
    predicted
        Emotion of the highest score, shape (m,).
    auroc
        Share of the texts of other emotions that score lower than this one on this one's emotion (a tie is half),
        shape (m,). Averaged over an emotion's texts it is that emotion's area under the ROC curve. NaN where there
        are no other emotions.
    """

    rank: np.ndarray
    predicted: np.ndarray
    auroc: np.ndarray

    def metric(self, name: str) -> np.ndarray:
        """Value of each text under a metric of `METRICS`, shape (m,)."""
        if name == "auroc":
            return self.auroc
        return (self.rank <= {"top1": 1, "top5": 5}[name]).astype(np.float64)


def rank_texts(scores: np.ndarray, y: np.ndarray) -> Ranked:
    """Rank the emotions of each text.

    Parameters
    ----------
    scores
        Shape (m, n): m texts read by one set of n directions. Texts read by other directions or with other
        statistics (another fold) belong into another call: their scores have another scale.
    y
        Own emotion of each text as a column, shape (m,).
    """
    return Ranked(own_ranks(scores, y), scores.argmax(axis=1), _share_below(scores, y))


def rank_by_fold(scores: np.ndarray, y: np.ndarray, folds: np.ndarray) -> Ranked:
    """Rank texts whose folds, shape (m,), were read by different readers; see `rank_texts`."""
    found = Ranked(np.zeros(len(y), np.int64), np.zeros(len(y), np.int64), np.full(len(y), np.nan))
    for fold in np.unique(folds):
        test = folds == fold
        part = rank_texts(scores[test], y[test])
        found.rank[test], found.predicted[test], found.auroc[test] = part.rank, part.predicted, part.auroc
    return found


def own_ranks(scores: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Rank of each text's own emotion, from 1, shape (m,); ties count against it, so a constant reads nothing."""
    return (scores >= scores[np.arange(len(y)), y][:, None]).sum(axis=1)


def _share_below(scores: np.ndarray, y: np.ndarray) -> np.ndarray:
    shares = np.full(len(y), np.nan)
    for start in range(0, len(y), _COLUMNS):
        mine = np.arange(start, min(start + _COLUMNS, len(y)))
        column = scores[:, y[mine]]
        own = scores[mine, y[mine]]
        other = y[:, None] != y[mine]
        below = ((column < own) & other).sum(axis=0) + 0.5 * ((column == own) & other).sum(axis=0)
        total = other.sum(axis=0)
        shares[mine] = np.divide(below, total, out=shares[mine], where=total > 0)
    return shares


def chance(metric: str, n_emotions: int) -> float:
    """What a reading without knowledge gives: 1/n, 5/n (at most 1) and 0.5."""
    return {"top1": 1 / n_emotions, "top5": min(1.0, 5 / n_emotions), "auroc": 0.5}[metric]
