"""The estimators against scikit-learn and plain numpy, and chunks and folds against the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.covariance import OAS
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from emovec_sae.directions.estimators import (
    DiffMean,
    LogisticProbe,
    MomentClassifier,
    Moments,
    PCADirection,
    RidgeAxis,
    ShrinkageLDA,
    WhitenedDiffMean,
)
from emovec_sae.directions.estimators.covariance import oas_share, shrink
from emovec_sae.directions.folds import FoldedVectors

MOMENT = [DiffMean(), WhitenedDiffMean(), ShrinkageLDA(), ShrinkageLDA(shrinkage=0.5)]


def planted(n: int = 240, d: int = 12, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows with a huge shared dimension, class means elsewhere, and a common correlation."""
    random = np.random.default_rng(seed)
    mix = random.normal(size=(d, d)) / np.sqrt(d)
    y = np.arange(n) % classes
    means = random.normal(size=(classes, d)) * 0.7
    X = random.normal(size=(n, d)) @ mix + means[y]
    X[:, 0] = 500 * random.normal(size=n) + 1000
    return X, y, np.arange(n) // classes % 6


class Scaled(OAS):
    """OAS of the correlations, as scikit-learn's own pieces give it."""

    def fit(self, X, y=None):
        deviation = X.std(axis=0)
        found = OAS(assume_centered=True).fit((X - X.mean(axis=0)) / deviation)
        off = found.covariance_ * np.outer(deviation, deviation)
        off[np.diag_indices(len(off))] = deviation**2
        self.covariance_ = off
        return self


def test_share_of_the_formula_is_scikit_learns() -> None:
    X, _, _ = planted(40)
    scaled = StandardScaler().fit_transform(X)
    assert oas_share(scaled.T @ scaled / 40, 40) == pytest.approx(OAS(assume_centered=True).fit(scaled).shrinkage_)


def test_shrunk_covariance_keeps_variances_and_ends_at_its_ends() -> None:
    X, _, _ = planted()
    covariance = np.cov(X.T, bias=True)
    for share in (0.0, 0.3, 1.0):
        found = shrink(covariance, len(X), share)
        np.testing.assert_allclose(np.diag(found), np.diag(covariance))
    np.testing.assert_allclose(shrink(covariance, len(X), 0.0), covariance)
    np.testing.assert_allclose(shrink(covariance, len(X), 1.0), np.diag(np.diag(covariance)))
    with pytest.raises(ValueError, match="from 0 to 1"):
        shrink(covariance, len(X), 1.5)


def test_discriminants_are_those_of_scikit_learn() -> None:
    X, y, _ = planted()
    means = np.stack([X[y == code].mean(axis=0) for code in range(4)])
    within = X - means[y]

    class Given(OAS):
        def fit(self, X, y=None):
            self.covariance_ = Scaled().fit(within).covariance_
            return self

    theirs = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=Given(), priors=np.full(4, 0.25)).fit(X, y)
    wanted = theirs.coef_ - theirs.coef_.mean(axis=0)
    np.testing.assert_allclose(ShrinkageLDA().fit(X, y).vectors_, wanted, rtol=1e-6, atol=1e-9)


def test_whitening_mends_what_a_huge_dimension_drowns() -> None:
    X, y, groups = planted(960)
    score = {
        type(one).__name__: cross_val_score(one, X, y, groups=groups, cv=GroupKFold(6)).mean()
        for one in (DiffMean(), WhitenedDiffMean(), ShrinkageLDA())
    }
    assert score["DiffMean"] + 0.15 < min(score["WhitenedDiffMean"], score["ShrinkageLDA"]), score


def test_whitened_vectors_by_hand() -> None:
    X, y, _ = planted()
    means = np.stack([X[y == code].mean(axis=0) for code in range(4)])
    covariance = Scaled().fit(X).covariance_
    wanted = np.linalg.solve(covariance, (means - means.mean(axis=0)).T).T
    np.testing.assert_allclose(WhitenedDiffMean().fit(X, y).vectors_, wanted, rtol=1e-6, atol=1e-9)


def test_logistic_coefficients_are_scikit_learns() -> None:
    X, y, _ = planted()
    scale = StandardScaler().fit(X)
    theirs = LogisticRegression(C=0.1, max_iter=500).fit(scale.transform(X), y).coef_ / scale.scale_
    found = LogisticProbe(C=0.1).fit(X, y).vectors_
    np.testing.assert_allclose(found, theirs - theirs.mean(axis=0), rtol=1e-9, atol=1e-12)


def test_ridge_is_scikit_learns_in_the_coordinates_given() -> None:
    X, y, _ = planted()
    target = np.stack([X[:, 1] - 2 * X[:, 2], X[:, 3] + y], axis=1)
    found = RidgeAxis().fit(X, target)
    for column in range(2):
        theirs = make_pipeline(StandardScaler(), RidgeCV(found.alphas)).fit(X, target[:, column])
        np.testing.assert_allclose(found.predict(X)[:, column], theirs.predict(X), rtol=1e-9, atol=1e-9)
    assert found.predict(X[:3]).shape == (3, 2)
    assert RidgeAxis().fit(X, target[:, 0]).predict(X[:3]).shape == (3,)


def test_paired_component_finds_what_pairs_differ_in() -> None:
    random = np.random.default_rng(0)
    groups, y = np.repeat(np.arange(30), 2), np.tile([0, 1], 30)
    axis = np.zeros(8)
    axis[2] = 1.0
    topic = random.normal(size=(30, 8)) * 20
    X = topic[groups] + np.outer(2 * y - 1, axis) * (1 + 0.2 * random.normal(size=60))[:, None]
    X += 0.1 * random.normal(size=X.shape)
    found = PCADirection().fit(X, y, groups)
    assert (found.vectors_[1] / np.linalg.norm(found.vectors_[1])) @ axis > 0.99
    assert found.vectors_[0] @ found.vectors_[1] < 0
    assert (found.explained_ > 0.9).all()
    blind = PCADirection().fit(X, y).vectors_[1]
    assert abs(blind @ axis) / np.linalg.norm(blind) < 0.9


@pytest.mark.parametrize("estimator", MOMENT, ids=repr)
@given(cuts=st.lists(st.integers(1, 239), max_size=4), seed=st.integers(0, 1000))
def test_chunks_give_what_the_whole_gives(estimator: MomentClassifier, cuts: list[int], seed: int) -> None:
    X, y, _ = planted(seed=seed)
    whole, chunked = type(estimator)(**estimator.get_params()).fit(X, y), type(estimator)(**estimator.get_params())
    for rows in np.split(np.arange(240), sorted(set(cuts))):
        chunked.partial_fit(X[rows], y[rows], classes=np.arange(4))
    np.testing.assert_allclose(chunked.vectors_, whole.vectors_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(chunked.stats_.proj_std, whole.stats_.proj_std, rtol=1e-6)
    np.testing.assert_allclose(chunked.stats_.proj_mean, whole.stats_.proj_mean, rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(chunked.predict(X), whole.predict(X))


@pytest.mark.parametrize("estimator", [*MOMENT, PCADirection()], ids=repr)
def test_leaving_folds_out_is_fitting_on_the_rest(estimator) -> None:
    X, y, folds = planted()
    made = FoldedVectors(X, y, folds, emotions=list("abcd"), estimator=estimator)
    for held in ([0], [1, 4]):
        keep = ~np.isin(folds, held)
        given_groups = {"groups": folds[keep]} if isinstance(estimator, PCADirection) else {}
        plain = type(estimator)(**estimator.get_params()).fit(X[keep], y[keep], **given_groups)
        np.testing.assert_allclose(made.without(held), plain.vectors_, rtol=1e-6, atol=1e-8)


def test_moments_add_and_subtract() -> None:
    X, y, _ = planted()
    first = Moments.of(X[:100], y[:100], 4, second=True)
    rest = Moments.of(X[100:], y[100:], 4, shift=first.shift, second=True)
    whole = Moments.of(X, y, 4, shift=first.shift, second=True)
    np.testing.assert_allclose((first + rest).within(), whole.within(), rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose((whole - rest).total(), first.total(), rtol=1e-6, atol=1e-6)


def test_against_neutral_texts() -> None:
    X, y, _ = planted()
    neutral = np.random.default_rng(1).normal(size=(9, 12))
    found = DiffMean(against=neutral).fit(X, y)
    means = np.stack([X[y == code].mean(axis=0) for code in range(4)])
    np.testing.assert_allclose(found.vectors_, means - neutral.mean(axis=0))
    with pytest.raises(ValueError, match="array"):
        DiffMean(against=neutral[0]).fit(X, y)


@pytest.mark.parametrize("estimator", MOMENT, ids=repr)
def test_a_chunk_of_unknown_labels_is_refused(estimator: MomentClassifier) -> None:
    X, y, _ = planted()
    fresh = type(estimator)(**estimator.get_params())
    with pytest.raises(ValueError, match="classes must be given"):
        fresh.partial_fit(X, y)
    with pytest.raises(ValueError, match="label '3' is none"):
        type(estimator)(**estimator.get_params()).partial_fit(X, y, classes=[0, 1, 2])
