"""Areas under ROC curves against scikit-learn, and the coverage of their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from emovec_sae.stats import auroc, rank_aurocs


def test_areas_equal_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    scores, codes = rng.integers(0, 6, (80, 5)), rng.integers(0, 4, 80)
    found = rank_aurocs(scores, codes, 5)
    for code in range(4):
        for column in range(5):
            expected = roc_auc_score(codes == code, scores[:, column])
            assert found[code, column] == pytest.approx(expected)
            assert auroc(scores[:, column], codes == code).value == pytest.approx(expected)
    assert np.isnan(found[4]).all()


def test_the_interval_covers_the_truth():
    """Scores with a cluster's own part in both kinds: 200 data sets, nominal 95 %."""
    rng = np.random.default_rng(1)
    truth = 0.7602  # Phi(1 / sqrt 2): normal scores that differ by one deviation
    hits = 0
    for _ in range(200):
        groups = np.repeat(np.arange(16), 12)
        positive = np.tile(np.arange(12) < 3, 16)
        scores = rng.standard_normal(192) * np.sqrt(0.6) + rng.standard_normal(16)[groups] * np.sqrt(0.4) + positive
        found = auroc(scores, positive, groups)
        hits += found.low <= truth <= found.high
        assert (found.n, found.clusters) == (48, 16)
    assert 0.90 <= hits / 200 <= 0.995  # three standard errors of 0.95 with 200 draws, 0.046


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="both kinds"):
        auroc([1.0, 2.0], [True, True])
    with pytest.raises(ValueError, match="one label"):
        auroc([1.0, 2.0], [True])
    assert np.isnan(auroc([1.0, 2.0], [True, False], [0, 0]).low)
