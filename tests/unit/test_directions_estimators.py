"""Estimators and denoising: scikit-learn's own contract, planted truth, invariances."""

from __future__ import annotations

import numpy as np
import pytest
from directions_planted import SITES, neutral, planted
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from emovec_sae.directions import NeutralComponents
from emovec_sae.directions.estimators import (
    DiffMean,
    LogisticProbe,
    PCADirection,
    RidgeAxis,
    ShrinkageLDA,
    WhitenedDiffMean,
)
from emovec_sae.errors import MismatchError, StoreError
from emovec_sae.sites import Site


@parametrize_with_checks(
    [
        DiffMean(),
        DiffMean(readout="centred_cosine"),
        WhitenedDiffMean(),
        ShrinkageLDA(),
        ShrinkageLDA(shrinkage=0.5),
        PCADirection(),
        LogisticProbe(),
        RidgeAxis(),
        NeutralComponents(share=0.5),
    ]
)
def test_contract_of_scikit_learn(estimator: BaseEstimator, check) -> None:
    check(estimator)


def test_vectors_are_class_means_less_the_mean_of_class_means() -> None:
    X = np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0], [0.0, 4.0], [0.0, 9.0], [6.0, 6.0]])
    found = DiffMean().fit(X, ["a", "a", "b", "b", "b", "c"])
    means = np.array([[2.0, 0.0], [0.0, 5.0], [6.0, 6.0]])
    np.testing.assert_allclose(found.grand_mean_, means.mean(axis=0))
    np.testing.assert_allclose(found.vectors_, means - means.mean(axis=0))


def test_a_skewed_class_moves_no_vector() -> None:
    acts, _ = planted()
    X, y = acts.pooled(SITES[1]), acts.frame["emotion"].to_numpy()
    rows = np.concatenate([np.arange(len(y)), np.tile(np.flatnonzero(y == "e0"), 20)])
    plain, skewed = DiffMean().fit(X, y), DiffMean().fit(X[rows], y[rows])
    np.testing.assert_allclose(plain.vectors_, skewed.vectors_, atol=1e-9)
    np.testing.assert_allclose(plain.stats_.proj_std, skewed.stats_.proj_std, atol=1e-9)


def test_planted_directions_come_back() -> None:
    acts, truth = planted(groups=40, noise=0.3)
    found = DiffMean().fit(acts.pooled(SITES[1]), acts.frame["emotion"]).vectors_
    wanted = truth - truth.mean(axis=0)
    cosines = (found * wanted).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(wanted, axis=1)
    assert cosines.min() > 0.97


@given(shift=st.floats(-100, 100), gain=st.floats(0.01, 100), seed=st.integers(0, 2**16))
def test_shift_gain_and_order_of_texts(shift: float, gain: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    X, y = random.normal(size=(12, 5)), np.repeat([0, 1, 2], 4)
    before = X.copy()
    plain = DiffMean().fit(X, y)
    np.testing.assert_array_equal(X, before)
    moved = DiffMean().fit(gain * X + shift, y)
    np.testing.assert_allclose(moved.vectors_, gain * plain.vectors_, atol=1e-10 * max(gain, 1) * 100)
    np.testing.assert_allclose(
        moved.decision_function(gain * X + shift), plain.decision_function(X), atol=1e-6, rtol=1e-6
    )
    order = random.permutation(12)
    np.testing.assert_allclose(DiffMean().fit(X[order], y[order]).vectors_, plain.vectors_, atol=1e-12)
    renamed = DiffMean().fit(X, np.array([2, 0, 1])[y])
    np.testing.assert_allclose(renamed.vectors_[[2, 0, 1]], plain.vectors_, atol=1e-12)


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one class was given, 'a'"):
        DiffMean().fit(np.eye(3), ["a", "a", "a"])


def test_neutral_components_reach_the_share_and_no_more() -> None:
    X = np.random.default_rng(0).normal(size=(80, 10)) * np.arange(10, 0, -1)
    variances = np.linalg.svd(X - X.mean(axis=0), compute_uv=False) ** 2
    shares = np.cumsum(variances) / variances.sum()
    for share in (0.2, 0.5, 0.8, 1.0):
        found = NeutralComponents(share=share).fit(X)
        count = len(found.components_)
        assert shares[count - 1] >= share - 1e-9
        assert count == 1 or shares[count - 2] < share
        np.testing.assert_allclose(found.components_ @ found.components_.T, np.eye(count), atol=1e-12)


def test_what_is_projected_out_is_gone_and_nothing_else() -> None:
    found = NeutralComponents(share=0.5).fit(np.random.default_rng(1).normal(size=(30, 8)) * np.arange(1, 9))
    vectors = np.random.default_rng(2).normal(size=(5, 8))
    left = found.transform(vectors)
    assert np.abs(left @ found.components_.T).max() < 1e-12
    np.testing.assert_allclose(found.transform(left), left, atol=1e-12)
    np.testing.assert_allclose((vectors - left) @ left.T, 0, atol=1e-10)


def test_neutral_store_is_fitted_at_the_site_and_stays_unfitted() -> None:
    axis = np.eye(24)[3]
    remove = NeutralComponents(neutral(axis))
    found = remove.at(SITES[1])
    assert abs(found.components_[0] @ axis) > 0.99
    with pytest.raises(NotFittedError):
        remove.transform(np.eye(24))
    with pytest.raises(StoreError, match=r"resid_post.3' was not recorded"):
        remove.at(Site("resid_post", 3))
    with pytest.raises(MismatchError, match="record the neutral texts with that model"):
        remove.at(SITES[1], model={"name": "other", "fingerprint": "model-b"})


@pytest.mark.parametrize("share", [0, -0.1, 1.1, "half"])
def test_a_share_that_is_none_is_refused(share) -> None:
    with pytest.raises(ValueError, match="a share of the variance"):
        NeutralComponents(share=share).fit(np.eye(4))


def test_neutral_texts_that_do_not_vary_remove_nothing() -> None:
    found = NeutralComponents().fit(np.ones((4, 3)))
    assert found.components_.shape == (0, 3)
    np.testing.assert_array_equal(found.transform(np.eye(3)), np.eye(3))
