"""A judge of generated texts: a logistic regression on sentence embeddings, trained by the user (extra ``judge``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emovec_sae.directions.encoder import PACKAGE, embed
from emovec_sae.directions.folds import assign_folds
from emovec_sae.directions.threads import one_thread
from emovec_sae.errors import ConfigError
from emovec_sae.provenance import digest
from emovec_sae.stats.bootstrap import Interval, bootstrap_mean

_INVERSE_PENALTY = 10.0
"""scikit-learn's C; embeddings have unit length, so that the usual 1 would shrink every weight to nothing."""


@dataclass(frozen=True, eq=False)
class Judge:
    """Weights of a trained judge.

    Attributes
    ----------
    emotions
        Names, n of them.
    weights, bias
        Of the embedding, shapes (n, d) and (n,).
    top1
        Share of texts named rightly when whole groups are held out, with an interval over groups.
    name
        What the outcome is called.
    """

    emotions: tuple[str, ...]
    weights: np.ndarray
    bias: np.ndarray
    top1: Interval
    name: str = "judge"

    @property
    def fingerprint(self) -> str:
        """What tells this judge from others."""
        return digest([PACKAGE, self.emotions, self.weights.tolist(), self.bias.tolist()])

    def read(self, texts: Sequence[str]) -> np.ndarray:
        """Log-odds of each emotion against all the others, nats, shape (texts, n); NaN for a blank text.

        Raises
        ------
        ConfigError
            If the sentence encoder is not installed.
        """
        found = np.full((len(texts), len(self.emotions)), np.nan)
        rows = [row for row, text in enumerate(texts) if text.strip()]
        if rows:
            found[rows] = _log_odds(embed([texts[row] for row in rows]) @ self.weights.T + self.bias)
        return found

    def describe(self) -> dict[str, Any]:
        """Facts for records."""
        return {"fingerprint": self.fingerprint, "emotions": len(self.emotions), "top1": self.top1.as_dict()}


def train_judge(texts: Sequence[str], emotions: Sequence[str], groups: Sequence[str], *, seed: int = 0) -> Judge:
    """Train a judge on texts that carry an emotion, such as the packaged stories.

    Parameters
    ----------
    texts, emotions, groups
        One each a text; whole groups (topics) are held out to measure how often the judge is right.
    seed
        Of the interval.

    Raises
    ------
    ConfigError
        If there are fewer than two emotions or groups, lengths differ, or the encoder is not installed.
    """
    from sklearn.linear_model import LogisticRegression

    if not len(texts) == len(emotions) == len(groups):
        raise ConfigError(f"{len(texts)} texts, {len(emotions)} emotions, {len(groups)} groups; give one each a text")
    names, y = np.unique(np.asarray(emotions, dtype=str), return_inverse=True)
    codes = np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
    if len(names) < 2 or codes.max(initial=0) < 1:
        raise ConfigError(f"a judge needs texts of 2 emotions and 2 groups, got {len(names)} and {len(set(codes))}")
    values, folds = embed(texts), assign_folds(codes)
    right = np.zeros(len(y))
    with one_thread():
        for fold in range(int(folds.max()) + 1):
            test = folds == fold
            made = LogisticRegression(C=_INVERSE_PENALTY, max_iter=2000).fit(values[~test], y[~test])
            right[test] = made.predict(values[test]) == y[test]
        whole = LogisticRegression(C=_INVERSE_PENALTY, max_iter=2000).fit(values, y)
    weights, bias = np.asarray(whole.coef_, float), np.asarray(whole.intercept_, float)
    if len(names) == 2:  # scikit-learn keeps one row of two
        weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    return Judge(tuple(map(str, names)), weights, bias, bootstrap_mean(right, codes, seed=seed))


def _log_odds(scores: np.ndarray) -> np.ndarray:
    """Log-odds of each class against all the others from the scores of a softmax, the same shape."""
    from scipy.special import logsumexp

    others = [logsumexp(np.delete(scores, column, axis=1), axis=1) for column in range(scores.shape[1])]
    return scores - np.stack(others, axis=1)
