"""The draws of each null: the law that it claims, and what it leaves as it was."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from memory_store import SITE, plant, planted_coder

from emovec_sae.decomposition.api import decompose
from emovec_sae.decomposition.contrast_nulls import ContrastNulls
from emovec_sae.decomposition.draws import covariance_units, random_units, rotated
from emovec_sae.decomposition.identity import Contrast
from emovec_sae.decomposition.pseudo import pseudo_vectors, why_not
from emovec_sae.decomposition.pursuits import PURSUITS, Dictionary
from emovec_sae.decomposition.sources import PooledTexts, cells_of, pooled_texts
from emovec_sae.directions.estimators import LogisticProbe, RidgeAxis
from emovec_sae.directions.fit import fit_directions
from emovec_sae.directions.folds import described

NOTHING = torch.zeros(0, 12)


def rows_of(seed, n, d):
    return torch.nn.functional.normalize(torch.from_numpy(np.random.default_rng(seed).standard_normal((n, d))), dim=1)


def test_a_rotation_keeps_angles_and_stays_out_of_what_was_removed():
    removed = torch.linalg.qr(rows_of(0, 12, 3)).Q.T
    vectors = rows_of(1, 4, 12)
    vectors = vectors - vectors @ removed.T @ removed
    vectors[3] = vectors[0] + vectors[1]  # not independent
    turned = rotated(vectors, removed, n=5, seed=0)
    assert turned.shape == (5, 4, 12)
    for one in turned:
        torch.testing.assert_close(one @ one.T, vectors @ vectors.T)
        assert (one @ removed.T).abs().max() < 1e-12
    assert (turned[0] - turned[1]).norm() > 0.5
    torch.testing.assert_close(turned, rotated(vectors, removed, n=5, seed=0))


@pytest.mark.parametrize("name", PURSUITS)
def test_turning_the_dictionary_is_turning_the_target_back(name):
    rows, targets = rows_of(2, 50, 12), rows_of(3, 6, 12)
    turn = torch.linalg.qr(rows_of(4, 12, 12)).Q
    one = PURSUITS[name].run(targets, Dictionary(rows @ turn), k=5)
    other = PURSUITS[name].run(targets @ turn.T, Dictionary(rows), k=5)
    torch.testing.assert_close(one.support, other.support)
    torch.testing.assert_close(one.path, other.path)


def test_rotated_vectors_are_spread_as_isotropic_ones():
    """Second and fourth moments of a coordinate of a random unit vector: 1 / d and 3 / (d (d + 2))."""
    units = rows_of(5, 3, 12)
    drawn = rotated(units, NOTHING.double(), n=3000, seed=1)[:, 1].numpy()
    isotropic = random_units(3000, NOTHING, seed=1).numpy()
    for one in (drawn, isotropic):
        np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, rtol=1e-5)
        # 3000 draws: a relative standard error of 0.026 and 0.05; the largest of twelve coordinates
        np.testing.assert_allclose((one**2).mean(0), 1 / 12, rtol=0.11)
        np.testing.assert_allclose((one**4).mean(0), 3 / (12 * 14), rtol=0.25)
        assert np.abs(one.mean(0)).max() < 4 / np.sqrt(12 * 3000)


def test_covariance_targets_have_the_covariance_of_the_texts():
    rng = np.random.default_rng(0)
    spread = np.array([5.0, 2.0, 1.0, 0.5])
    values = rng.standard_normal((500, 4)) * spread + 100
    drawn = covariance_units(values, 4000, torch.zeros(0, 4, dtype=torch.float64), seed=0).numpy()
    expected = rng.standard_normal((4000, 4)) * values.std(0)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1)
    # Only their directions are kept: compare with directions of a Gaussian of that covariance
    np.testing.assert_allclose((drawn**2).mean(0), (expected**2).mean(0), atol=0.02)
    removed = torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64)
    assert np.abs(covariance_units(values, 50, removed, seed=0).numpy()[:, 0]).max() < 1e-12


def test_labels_are_permuted_within_groups():
    """Values that are all group and no emotion: a balanced difference of texts about the same topics is zero."""
    planted = plant(emotions=4, groups=5)
    whole = fit_directions(planted.store, site=str(SITE))
    texts = pooled_texts(whole, planted.store)
    level = np.random.default_rng(0).standard_normal((5, 24))
    flat = PooledTexts(level[texts.group].astype(np.float32), texts.emotion, texts.group)
    drawn = pseudo_vectors(whole, flat, n=9, seed=0)
    assert drawn.shape == (9, 24)
    assert np.abs(drawn).max() < 1e-6
    real = pseudo_vectors(whole, texts, n=40, seed=0)
    assert np.linalg.norm(real, axis=1).mean() < 0.9 * np.linalg.norm(whole.vectors, axis=1).mean()
    np.testing.assert_array_equal(real, pseudo_vectors(whole, texts, n=40, seed=0))


def test_the_directions_own_estimator_is_run_again():
    planted = plant(emotions=3, groups=6)
    whole = fit_directions(planted.store, site=str(SITE), estimator=LogisticProbe(C=0.1))
    assert why_not(whole) is None
    texts = pooled_texts(whole, planted.store)
    same = PooledTexts(texts.values, texts.emotion, np.arange(len(texts.emotion)))  # groups of one: nothing moves
    drawn = pseudo_vectors(whole, same, n=12, seed=0)
    gaps = np.linalg.norm(drawn[:, None] - whole.vectors[None], axis=2).min(1)
    assert gaps.max() < 1e-3 * np.linalg.norm(whole.vectors, axis=1).max()
    assert "not one of labels" in why_not(SimpleNamespace(estimator=described(RidgeAxis())))


def test_shuffled_rows_stay_among_live_latents_and_say_nothing_where_rows_are_alike():
    planted = plant(emotions=3, groups=5)
    whole_set, coder = fit_directions(planted.store, site=str(SITE)), planted_coder(planted)
    cells = cells_of(whole_set, coder, planted.store)
    cells.fired[:4] = 0  # as if dead
    n, d = coder.d_sae, coder.d_in
    delta = torch.arange(1.0, n + 1).repeat(3, 1)
    vectors = torch.nn.functional.normalize(torch.ones(3, d), dim=1)
    one_row = SimpleNamespace(directions=vectors[:1].expand(n, d), d_sae=n)
    alike = Contrast(delta, vectors, vectors * 0, torch.ones(3, n), np.zeros(3))
    nulls = ContrastNulls(
        cells, alike, one_row, removed=torch.zeros(0, d), wanted=[0, 1, 2], nulls=30, at=(1, 4), k=4, seed=0
    )
    dealt = nulls._dealt.numpy()
    np.testing.assert_array_equal(np.sort(dealt, axis=1), np.tile(np.arange(4, n), (30, 1)))
    assert (dealt[0] != np.arange(4, n)).any()
    # All rows are one: the four largest Deltas make up the same sum, wherever they stand
    curve, largest = nulls.of(1)[0]["shuffled"], np.arange(n - 3, n + 1.0)
    np.testing.assert_allclose(curve.cosine, 1, rtol=1e-5)
    np.testing.assert_allclose(curve.quantities["share"][:, 1], largest.sum(), rtol=1e-5)
    np.testing.assert_allclose(curve.quantities["count"][:, 1], largest.sum() ** 2 / (largest**2).sum(), rtol=1e-5)


def test_chance_does_not_beat_its_own_nulls():
    """Vectors of texts whose labels were shuffled: p values of `omp` against permuted labels are not small."""
    found = []
    for seed in range(6):
        planted = plant(seed=seed, emotions=5, groups=6, noise=0.5)
        frame = planted.store.frame
        shuffle = np.random.default_rng(seed).permutation
        frame["emotion"] = frame.groupby("group")["emotion"].transform(shuffle)
        vectors = fit_directions(planted.store, site=str(SITE))
        parts = decompose(
            vectors, planted_coder(planted), planted.store, method="omp", k=3, nulls=99, seed=seed, override=True
        )
        table = parts.nulls().query("k == 3 and quantity == 'r2' and null == 'permuted labels'")
        found += table["p"].tolist()
    # Thirty p values, of five emotions each that are not independent: uniform ones are below 0.05 one or two times
    assert np.mean(np.array(found) <= 0.05) < 0.2
    assert 0.3 < np.mean(found) < 0.7
