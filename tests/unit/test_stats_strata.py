"""Means within strata and correlations under resampled rows: coverage, and agreement with numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from emovec_sae.stats.resampled_r import drawn, permuted_r, weighted_r
from emovec_sae.stats.strata import stratified_mean


def test_the_interval_covers_the_mean_of_fixed_families() -> None:
    random = np.random.default_rng(0)
    families, runs = np.repeat(np.arange(8), 4), 400
    centres = random.normal(scale=3, size=8)
    hits = 0
    for run in range(runs):
        values = centres[families] + random.normal(size=32)
        found = stratified_mean(values, families, resamples=400, seed=run)
        hits += found.low <= centres.mean() <= found.high
    # 95 % less a point or two that percentiles of 32 values miss; drawing 4 of 4 would give .90, families ignored 1.00
    assert 0.91 <= hits / runs <= 0.98


def test_the_spread_is_that_of_the_stratified_mean() -> None:
    random = np.random.default_rng(1)
    values, strata = random.normal(size=40) + 5 * np.repeat(np.arange(10), 4), np.repeat(np.arange(10), 4)
    found = stratified_mean(values, strata, resamples=20000, seed=0)
    parts = values.reshape(10, 4)
    error = math.sqrt((parts.var(axis=1, ddof=1) / 4).mean() / 10)
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(error, rel=0.05)  # 20,000 resamples: 2 % seen
    assert found.value == pytest.approx(values.mean())


def test_few_values_and_strata_of_one() -> None:
    few = stratified_mean([1.0, 2.0, 3.0], ["a", "a", "a"], seed=0)
    assert few.high - few.low == pytest.approx(2 * 4.302653 / math.sqrt(3), rel=1e-5)  # t of 2 degrees, s = 1
    alone = stratified_mean([1.0, 2.0, 3.0], ["a", "b", "c"], seed=0)
    assert (alone.low, alone.high) == (few.low, few.high), "strata of one are pooled"
    mixed = stratified_mean([1.0, 2.0, 7.0], ["a", "a", "c"], seed=0)
    assert mixed.low < mixed.value < mixed.high
    one = stratified_mean([1.0], ["a"], seed=0)
    assert one.value == 1.0
    assert math.isnan(one.low)


def test_correlations_are_those_of_numpy() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(30, 3)), random.normal(size=(30, 3))
    plain = weighted_r(np.ones((1, 30)), x, y)[0]
    assert plain == pytest.approx([np.corrcoef(x[:, one], y[:, one])[0, 1] for one in range(3)])
    times = drawn(30, 5, seed=1)
    found = weighted_r(times, x, y[:, :1])
    for row, counts in zip(found, times.astype(int), strict=True):
        rows = np.repeat(np.arange(30), counts)
        assert row == pytest.approx([np.corrcoef(x[rows, one], y[rows, 0])[0, 1] for one in range(3)])
    null = permuted_r(x, x, permutations=200, seed=0)
    assert null.shape == (200, 3)
    assert np.abs(null.mean(axis=0)).max() < 0.06
    assert (weighted_r(np.ones((1, 30)), np.ones((30, 1)), y[:, :1]) == 0).all(), "a constant correlates with nothing"
