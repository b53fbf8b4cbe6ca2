"""A correlation over clusters: the value, the jackknife by hand, and where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from emovec_sae.stats.clustered_correlation import clustered_correlation


def test_the_interval_of_a_clustered_correlation() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(12), 20)
    shared = rng.normal(size=12)[groups]
    x, y = rng.normal(size=240) + shared, rng.normal(size=240) + shared
    told = clustered_correlation(x, y, groups)
    assert told.value == pytest.approx(np.corrcoef(x, y)[0, 1])
    by_hand = [np.corrcoef(x[groups != one], y[groups != one])[0, 1] for one in range(12)]
    spread = np.sqrt(11 / 12 * np.square(np.arctanh(by_hand) - np.mean(np.arctanh(by_hand))).sum())
    assert np.arctanh(told.high) - np.arctanh(told.value) == pytest.approx(2.200985 * spread, rel=1e-5)
    alone = clustered_correlation(x, y, np.arange(240))
    assert alone.high - alone.low < told.high - told.low  # cells of one pair are not independent
    assert clustered_correlation(x, np.exp(x), groups, kind="spearman").value == pytest.approx(1)
    assert np.isnan(clustered_correlation(x, np.ones(240), groups).value)
    assert np.isnan(clustered_correlation(x, y, groups % 2).low)
    with pytest.raises(ValueError, match="must be pairs"):
        clustered_correlation(x, y[:-1], groups)
