"""Permutation tests and corrections: exact counts by hand, uniform p under the null, agreement with scipy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from emovec_sae.stats import (
    benjamini_hochberg,
    holm,
    label_permutation,
    max_t_p,
    permutation_p,
    permuted_labels,
    sign_flip,
)


def test_sign_flip_of_few_values_counts_every_arrangement() -> None:
    values = np.array([0.5, 1.0, -0.25, 2.0, 0.75])
    means = np.array([np.mean(values * signs) for signs in itertools.product([1, -1], repeat=5)])
    for alternative, wanted in (
        ("greater", np.mean(means >= values.mean() - 1e-12)),
        ("less", np.mean(means <= values.mean() + 1e-12)),
        ("two-sided", np.mean(np.abs(means) >= values.mean() - 1e-12)),
    ):
        found = sign_flip(values, alternative=alternative, seed=0)
        assert found.exact
        assert found.p == pytest.approx(wanted)
    assert sign_flip(np.ones(5), alternative="greater", seed=0).p == sign_flip(np.ones(5), seed=0).p / 2 == 1 / 32


def test_sign_flip_flips_clusters_as_one() -> None:
    values, groups = np.ones(40), np.repeat(np.arange(4), 10)
    found = sign_flip(values, groups, alternative="greater", seed=0)
    assert (found.p, found.floor, found.n, found.statistic) == (1 / 16, 1 / 16, 40, 1.0)
    assert sign_flip(values, seed=0).p == sign_flip(values, seed=0).floor == 1 / 10000


def test_floors_are_reached_and_never_undercut() -> None:
    strong = np.full(30, 5.0)
    found = sign_flip(strong, permutations=199, seed=0)
    assert (found.p, found.floor, found.exact) == (1 / 200, 1 / 200, False)
    labels = np.arange(30) < 15
    apart = label_permutation(labels * 5.0, labels, permutations=199, seed=0)
    assert (apart.p, apart.floor, apart.exact) == (1 / 200, 1 / 200, False)
    few = label_permutation([1.0, 2.0, 10.0, 11.0], [0, 0, 1, 1], alternative="greater", seed=0)
    assert (few.p, few.floor, few.exact) == (1 / 6, 1 / 6, True)
    both = label_permutation([1.0, 2.0, 10.0, 11.0], [0, 0, 1, 1], seed=0)
    assert both.p == both.floor == 2 / 6
    uneven = label_permutation([1.0, 2.0, 3.0, 10.0], [0, 0, 0, 1], seed=0)
    assert uneven.p == uneven.floor == 1 / 4


@pytest.mark.parametrize("test", ["sign", "label", "blocks"])
def test_p_is_uniform_where_there_is_nothing(test: str) -> None:
    rng = np.random.default_rng(11)
    found = []
    for seed in range(300):
        values, labels = rng.normal(size=24), rng.permutation(24) < 9
        if test == "sign":
            found.append(sign_flip(values, permutations=199, seed=seed).p)
        else:
            blocks = np.repeat(np.arange(3), 8) if test == "blocks" else None
            shift = 0 if blocks is None else 3.0 * blocks
            found.append(label_permutation(values + shift, labels, blocks=blocks, permutations=199, seed=seed).p)
    assert stats.kstest(found, "uniform").pvalue > 1e-3
    assert np.mean(np.array(found) <= 0.05) < 0.1


def test_labels_agree_with_scipys_exact_test() -> None:
    rng = np.random.default_rng(12)
    left, right = rng.normal(1, size=6), rng.normal(size=5)
    values, labels = np.concatenate([left, right]), np.arange(11) < 6
    for alternative in ("greater", "less"):
        theirs = stats.permutation_test(
            (left, right), lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis), vectorized=True,
            n_resamples=np.inf, alternative=alternative,
        )  # fmt: skip
        found = label_permutation(values, labels, alternative=alternative, seed=0)
        assert found.exact
        assert found.p == pytest.approx(theirs.pvalue)
        assert found.statistic == pytest.approx(theirs.statistic)
        sampled = label_permutation(values, labels, alternative=alternative, permutations=460, seed=0)
        # Standard error of a sampled p: sqrt(p (1 - p) / 460) <= .024; four of them.
        assert not sampled.exact
        assert sampled.p == pytest.approx(theirs.pvalue, abs=0.1)


def test_blocks_take_their_own_differences_out() -> None:
    # Labelled rows are larger by 1 within each block, while the blocks differ by 100 and hide it.
    rng = np.random.default_rng(13)
    blocks = np.repeat(np.arange(6), 8)
    labels = np.tile(np.arange(8) < 4, 6)
    values = 100.0 * blocks + labels + rng.normal(size=48) * 0.5
    assert label_permutation(values, labels, blocks=blocks, seed=0).p < 0.001
    assert label_permutation(values, labels, seed=0).p > 0.2


def test_permuted_labels_stay_in_their_blocks() -> None:
    labels, blocks = np.array(list("aabbccdd")), np.array([0, 0, 0, 0, 1, 1, 1, 1])
    drawn = list(permuted_labels(labels, blocks=blocks, permutations=50, seed=0))
    assert len(drawn) == 50
    assert all(sorted(copy[:4]) == list("aabb") and sorted(copy[4:]) == list("ccdd") for copy in drawn)
    assert len({tuple(copy) for copy in drawn}) > 20
    free = list(permuted_labels(labels, permutations=50, seed=0))
    assert any(sorted(copy[:4]) != list("aabb") for copy in free)
    assert labels.tolist() == list("aabbccdd")


def test_p_against_a_sampled_null() -> None:
    null = np.array([[0.0, 5.0], [1.0, -6.0], [2.0, 7.0]])
    np.testing.assert_allclose(permutation_p([1.0, 6.0], null), [3 / 4, 2 / 4])
    np.testing.assert_allclose(permutation_p([1.0, 6.0], null, alternative="two-sided"), [3 / 4, 3 / 4])
    np.testing.assert_allclose(permutation_p([-9.0, -9.0], null, alternative="less"), [1 / 4, 1 / 4])
    np.testing.assert_allclose(max_t_p([1.0, 6.5, -8.0], np.c_[null, np.zeros(3)]), [1.0, 2 / 4, 1 / 4])


def test_max_t_holds_the_family_and_single_tests_do_not() -> None:
    rng = np.random.default_rng(14)
    null = rng.normal(size=(199, 40))
    families = rng.normal(size=(300, 40))
    corrected = np.mean([max_t_p(one, null).min() <= 0.05 for one in families])
    single = np.mean([permutation_p(np.abs(one), np.abs(null)).min() <= 0.05 for one in families])
    assert corrected < 0.12
    assert single > 0.5


def test_corrections_by_hand() -> None:
    p = np.array([0.01, 0.04, 0.03, np.nan, 0.5])
    np.testing.assert_allclose(holm(p), [0.04, 0.09, 0.09, np.nan, 0.5])
    np.testing.assert_allclose(benjamini_hochberg(p), [0.04, 0.16 / 3, 0.16 / 3, np.nan, 0.5])
    assert np.isnan(holm([np.nan])).all()
    assert benjamini_hochberg(np.full((2, 2), np.nan)).shape == (2, 2)


probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@given(p=probabilities, data=st.data())
def test_corrections_keep_order_and_never_shrink(p: list[float], data: st.DataObject) -> None:
    array = np.array(p)
    order = data.draw(st.permutations(range(len(p))))
    for correct in (holm, benjamini_hochberg):
        q = correct(array)
        assert (q >= array - 1e-15).all()
        assert (q <= 1).all()
        assert (np.diff(q[np.argsort(array)]) >= -1e-15).all()
        np.testing.assert_allclose(correct(array[order]), q[order])
    assert (holm(array) >= benjamini_hochberg(array) - 1e-12).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: holm([1.2]), "between 0 and 1"),
        (lambda: benjamini_hochberg([-0.1]), "between 0 and 1"),
        (lambda: sign_flip([1.0], alternative="both", seed=0), "alternative is 'both'"),
        (lambda: sign_flip([1.0], permutations=0, seed=0), "0 permutations"),
        (lambda: label_permutation([1.0, 2.0], [1, 1], seed=0), "all labels agree"),
        (lambda: label_permutation([1.0, 2.0], [1], seed=0), "give one label a value"),
    ],
)
def test_wrong_arrays_are_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
