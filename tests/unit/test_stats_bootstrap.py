"""Intervals: against scipy, against planted truth, and their coverage in simulation."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from emovec_sae.stats import Interval, bootstrap_mean, bootstrap_ratio, proportion
from emovec_sae.stats.bootstrap import NO_RATIO

finite = st.floats(-1e3, 1e3)


def clustered(rng: np.random.Generator, clusters: int, each: int, truth: float) -> tuple[np.ndarray, np.ndarray]:
    """Values around `truth` whose clusters differ as much as the values within them."""
    values = truth + rng.normal(size=(clusters, 1)) + rng.normal(size=(clusters, each))
    return values.ravel(), np.repeat(np.arange(clusters), each)


def test_few_clusters_of_one_size_give_the_t_interval_of_their_means() -> None:
    values, groups = clustered(np.random.default_rng(0), 8, 24, 3.0)
    found = bootstrap_mean(values, groups, seed=0)
    means = values.reshape(8, 24).mean(axis=1)
    low, high = stats.t.interval(0.95, 7, loc=means.mean(), scale=stats.sem(means))
    np.testing.assert_allclose([found.value, found.low, found.high], [means.mean(), low, high], rtol=1e-12)
    assert (found.n, found.clusters, found.method) == (192, 8, "t over 8 clusters")


def test_many_values_agree_with_scipys_bootstrap() -> None:
    values = np.random.default_rng(1).exponential(size=300)
    found = bootstrap_mean(values, resamples=20000, seed=0)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20000, method="percentile", rng=2).confidence_interval
    # Two runs of 20,000 resamples differ by about 0.012 standard errors at a 2.5 % quantile each; five times that.
    tolerance = 5 * 2**0.5 * 0.018 * values.std() / 300**0.5
    np.testing.assert_allclose([found.low, found.high], [theirs.low, theirs.high], atol=tolerance)
    assert found.method == "percentile bootstrap over 300 clusters"


@pytest.mark.parametrize(("clusters", "lowest"), [(4, 0.92), (8, 0.92), (24, 0.90)])
def test_intervals_cover_the_truth_as_often_as_they_say(clusters: int, lowest: float) -> None:
    # 600 simulations of a true coverage of .95 (.935 for percentiles of 24 clusters) fall below `lowest` less than
    # once in 1,000 runs; percentile intervals would cover .78 with 4 clusters.
    rng = np.random.default_rng(clusters)
    hits = 0
    for seed in range(600):
        values, groups = clustered(rng, clusters, 6, 1.0)
        found = bootstrap_mean(values, groups, resamples=300, seed=seed)
        hits += found.low <= 1.0 <= found.high
    assert lowest <= hits / 600 <= 0.98


def test_ignoring_the_clusters_would_be_too_narrow() -> None:
    values, groups = clustered(np.random.default_rng(3), 24, 20, 0.0)
    together, alone = bootstrap_mean(values, groups, seed=0), bootstrap_mean(values, seed=0)
    assert together.value == pytest.approx(alone.value)
    assert together.high - together.low > 2 * (alone.high - alone.low)


@given(
    values=st.lists(finite, min_size=2, max_size=40),
    shift=finite,
    gain=st.floats(0.1, 10),
    names=st.lists(st.sampled_from("abcdefgh"), min_size=40, max_size=40),
)
def test_an_interval_moves_with_the_values_and_ignores_their_order(values, shift, gain, names) -> None:
    array, groups = np.array(values), np.array(names[: len(values)])
    before = array.copy()
    base = bootstrap_mean(array, groups, resamples=50, seed=1)
    moved = bootstrap_mean(array * gain + shift, groups, resamples=50, seed=1)
    turned = bootstrap_mean(array[::-1], groups[::-1], resamples=50, seed=1)
    ends = np.array([base.value, base.low, base.high])
    np.testing.assert_allclose([moved.value, moved.low, moved.high], ends * gain + shift, atol=1e-6, rtol=1e-9)
    np.testing.assert_allclose([turned.value, turned.low, turned.high], ends, atol=1e-9)
    np.testing.assert_array_equal(array, before)
    assert base.clusters == 1 or base.low <= base.value + 1e-9


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(4).normal(size=9000)  # enough for several blocks of resamples
    one, same, other = (bootstrap_mean(values, resamples=600, seed=seed) for seed in (5, 5, 6))
    assert one == same != other


def test_a_wider_level_is_wider() -> None:
    values = np.random.default_rng(5).normal(size=60)
    narrow, wide = (bootstrap_mean(values, level=level, seed=0) for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_one_cluster_has_no_interval() -> None:
    found = bootstrap_mean([1.0, 2.0], ["a", "a"], seed=0)
    assert found.value == 1.5
    assert np.isnan([found.low, found.high]).all()
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False)) == {"value": 1.5, "low": None, "high": None, "n": 2}


def test_an_interval_reads_well() -> None:
    assert str(Interval(0.6234, 0.55, 0.7, 192, 8, 0.95, "t")) == "0.623 [0.55, 0.7], n = 192"


@pytest.mark.parametrize("clusters", [8, 24])
def test_a_ratio_finds_what_was_planted_and_gains_from_pairing(clusters: int) -> None:
    rng = np.random.default_rng(6)
    raw = 2 + rng.normal(size=clusters * 5) + np.repeat(rng.normal(size=clusters), 5) * 0.5
    groups = np.repeat(np.arange(clusters), 5)
    arm = 0.7 * raw + rng.normal(size=raw.size) * 0.05
    found = bootstrap_ratio(arm, raw, groups, seed=0)
    assert found.value == pytest.approx(arm.mean() / raw.mean())
    assert found.low < 0.7 < found.high
    # What both sides share cancels: the noise of the arm alone, 0.05 of about 2 over sqrt(n), gives the width.
    assert found.high - found.low < 6 * 0.05 / 2 / np.sqrt(raw.size)
    exact = bootstrap_ratio(raw * 3, raw, groups, seed=0)
    np.testing.assert_allclose([exact.value, exact.low, exact.high], 3, rtol=1e-9)


def test_ratios_cover_the_truth() -> None:
    rng = np.random.default_rng(7)
    hits = 0
    for seed in range(400):
        raw, groups = clustered(rng, 8, 6, 6.0)
        arm = 0.5 * raw + rng.normal(size=raw.size) + np.repeat(rng.normal(size=8), 6) * 0.5
        found = bootstrap_ratio(arm, raw, groups, seed=seed)
        hits += found.low <= 0.5 <= found.high
    # 400 simulations of a coverage of .95 fall outside about once in 1,000 runs.
    assert 0.91 <= hits / 400 <= 0.985


@pytest.mark.parametrize("clusters", [6, 30])
def test_there_is_no_ratio_to_what_may_be_zero(clusters: int) -> None:
    raw = np.tile([1.0, -1.0], clusters)
    raw[0] += 0.1
    found = bootstrap_ratio(np.ones(2 * clusters), raw, np.repeat(np.arange(clusters), 2), seed=0)
    assert found.method == NO_RATIO
    assert np.isnan([found.value, found.low, found.high]).all()


def test_a_proportion_without_clusters_is_scipys_wilson_interval() -> None:
    for successes in (0, 7, 20):
        found = proportion(np.arange(20) < successes)
        theirs = stats.binomtest(successes, 20).proportion_ci(method="wilson")
        np.testing.assert_allclose([found.low, found.high], [theirs.low, theirs.high], atol=1e-12)


def test_a_proportion_of_all_or_none_keeps_a_width_by_its_clusters() -> None:
    groups = np.repeat(np.arange(8), 24)
    found = proportion(np.ones(192), groups)
    theirs = stats.binomtest(8, 8).proportion_ci(method="wilson")
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(theirs.low)


def test_clustered_proportions_cover_the_truth() -> None:
    rng = np.random.default_rng(8)
    hits, plain = 0, 0
    groups = np.repeat(np.arange(8), 24)
    for _ in range(600):
        chance = np.repeat(rng.beta(6, 4, size=8), 24)  # mean .6
        wins = rng.random(192) < chance
        found, naive = proportion(wins, groups), proportion(wins)
        hits += found.low <= 0.6 <= found.high
        plain += naive.low <= 0.6 <= naive.high
    assert 0.92 <= hits / 600 <= 0.985
    assert plain / 600 < 0.8  # what happens to who forgets the clusters


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap_mean([], seed=0), "at least one value"),
        (lambda: bootstrap_mean([[1.0]], seed=0), "one dimension"),
        (lambda: bootstrap_mean([1.0, np.nan], seed=0), "1 of 2 values are not finite"),
        (lambda: bootstrap_mean([1.0, 2.0], ["a"], seed=0), "give one group a value"),
        (lambda: bootstrap_mean([1.0, 2.0], level=95, seed=0), "level is 95"),
        (lambda: bootstrap_mean([1.0, 2.0], resamples=0, seed=0), "resamples is 0"),
        (lambda: bootstrap_ratio([1.0], [1.0, 2.0], seed=0), "must be pairs"),
        (lambda: proportion([0.5]), "other than 0 and 1"),
        (lambda: proportion([1], level=2), "level is 2"),
    ],
)
def test_wrong_arrays_are_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
