"""Correlation: value and p against scipy, interval by its coverage, invariances."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from emovec_sae.stats import correlation


def pairs(rng: np.random.Generator, n: int, r: float) -> tuple[np.ndarray, np.ndarray]:
    x = rng.normal(size=n)
    return x, r * x + np.sqrt(1 - r**2) * rng.normal(size=n)


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_value_and_p_agree_with_scipy(kind: str) -> None:
    x, y = pairs(np.random.default_rng(0), 40, 0.3)
    found = correlation(x, y, kind=kind, permutations=4999, seed=0)
    theirs = getattr(stats, f"{kind}r")(x, y)
    assert found.value == pytest.approx(theirs.statistic)
    # Standard error of a sampled p near .05 with 4,999 permutations: .003; four of them, and the approximation's own.
    assert found.p == pytest.approx(theirs.pvalue, abs=0.015)
    assert found.low < found.value < found.high
    assert (found.n, found.kind, found.floor) == (40, kind, 1 / 5000)


def test_few_pairs_are_counted_exactly() -> None:
    x, y = np.arange(5.0), np.array([1.0, 2.0, 3.0, 4.0, 6.0])
    found = correlation(x, y, kind="spearman", seed=0)
    assert found.p == pytest.approx(2 / 120)  # this order and its mirror image
    assert found.floor == 1 / 120
    assert (found.low, found.high, found.method) == (found.value, found.value, "Fisher's transformation")


def test_fishers_interval_is_scipys() -> None:
    x, y = pairs(np.random.default_rng(1), 12, 0.5)
    found = correlation(x, y, seed=0)
    theirs = stats.pearsonr(x, y).confidence_interval(0.95)
    np.testing.assert_allclose([found.low, found.high], [theirs.low, theirs.high])


@pytest.mark.parametrize(("n", "kind"), [(10, "pearson"), (10, "spearman"), (60, "pearson"), (60, "spearman")])
def test_intervals_cover_the_truth(n: int, kind: str) -> None:
    rng = np.random.default_rng(n)
    r = 0.5
    truth = r if kind == "pearson" else 6 / np.pi * np.arcsin(r / 2)  # of a normal pair
    hits = 0
    for seed in range(300):
        found = correlation(*pairs(rng, n, r), kind=kind, resamples=300, permutations=1, seed=seed)
        hits += found.low <= truth <= found.high
    # Standard error .013 with 300 simulations; percentile intervals cover about .93 at n = 60.
    assert 0.89 <= hits / 300 <= 0.985


series = st.lists(st.integers(-50, 50), min_size=6, max_size=25).filter(lambda values: len(set(values)) > 1)


@given(values=series, gain=st.floats(0.1, 10), shift=st.floats(-100, 100), seed=st.integers(0, 1000))
def test_shift_and_gain_change_nothing_and_a_minus_turns_it(values, gain, shift, seed) -> None:
    x = np.array(values, dtype=float)
    y = np.random.default_rng(seed).normal(size=len(x))
    before = x.copy()
    settings = {"resamples": 20, "permutations": 19, "seed": 0}
    base = correlation(x, y, **settings)
    moved = correlation(x * gain + shift, y, **settings)
    turned = correlation(-x, y, **settings)
    np.testing.assert_allclose(
        [moved.value, moved.low, moved.high], [base.value, base.low, base.high], atol=1e-6, rtol=1e-6
    )
    np.testing.assert_allclose(turned.value, -base.value, atol=1e-12)
    np.testing.assert_array_equal(x, before)


def test_p_is_uniform_where_there_is_nothing() -> None:
    rng = np.random.default_rng(2)
    found = [correlation(*rng.normal(size=(2, 15)), permutations=199, seed=seed).p for seed in range(200)]
    assert stats.kstest(found, "uniform").pvalue > 1e-3


def test_three_pairs_have_no_interval_and_json_says_so() -> None:
    found = correlation([1.0, 2.0, 3.0], [1.0, 3.0, 2.5], seed=0)
    told = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert (told["low"], told["high"], told["n"]) == (None, None, 3)
    assert told["value"] == found.value
    assert "n = 3" in str(found)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: correlation([1, 2], [1, 2], seed=0), "at least 3 pairs"),
        (lambda: correlation([1, 2, 3], [1, 2], seed=0), "3 and 2 values"),
        (lambda: correlation([1, 1, 1], [1, 2, 3], seed=0), "constant"),
        (lambda: correlation([1, 2, 3], [1, 2, 4], kind="kendall", seed=0), "kind is 'kendall'"),
        (lambda: correlation([1, 2, 3], [1, 2, 4], level=1, seed=0), "level is 1"),
    ],
)
def test_wrong_arrays_are_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
