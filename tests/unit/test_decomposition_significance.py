"""Permutation tests of latents: against plain loops, their floors, what they find and what they leave alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from emovec_sae.decomposition.cells import Cells
from emovec_sae.decomposition.permutations import designs
from emovec_sae.decomposition.significance import significance
from emovec_sae.decomposition.text_means import TextMeansWriter
from emovec_sae.stats import benjamini_hochberg, label_permutation


def cells(latents, n_texts, *, n_tokens=10**6, fired=None):
    """Cells (E, G, d_sae) of sums over `n_texts` (E, G) texts; latents that fire at all do so on ten tokens."""
    e, g, d = latents.shape
    flat = latents.reshape(e * g, d).astype(np.float32)
    count = 10.0 * (flat != 0).any(0) if fired is None else fired
    none = np.zeros((e, d), dtype=np.int32)
    return Cells(
        tuple(f"e{row}" for row in range(e)), tuple(f"g{row}" for row in range(g)), n_texts, flat,
        np.zeros((e * g, 2)), np.zeros((e * g, 2)), count, np.square(flat).sum(0), n_tokens, np.full(e, 10), none, none,
        TextMeansWriter().finish(),
    )  # fmt: skip


def noise(seed=0, *, e=4, g=3, d=5, shift=0.0):
    rng = np.random.default_rng(seed)
    table = rng.exponential(size=(e, g, d)) + 2 * rng.standard_normal((1, g, 1))
    table[1, :, 2] += shift
    return table


@pytest.mark.parametrize("seed", range(3))
def test_an_exact_p_is_that_of_the_stats_room(seed):
    table = noise(seed)
    found = significance(cells(table, np.ones((4, 3), int)), [0, 2], permutations=200)
    assert found.designs[0].exact
    emotion, group = np.repeat(range(4), 3), np.tile(range(3), 4)
    for row, e in enumerate((0, 2)):
        for latent in range(5):
            expected = label_permutation(
                table[:, :, latent].reshape(-1), emotion == e, blocks=group, permutations=200, seed=0
            )
            assert expected.exact
            assert found.p[row, latent] == pytest.approx(expected.p, abs=1e-6)
            assert found.designs[row].floor == pytest.approx(1 / 4**3)
            centred = table[e, :, latent] - table[:, :, latent].mean(0)
            assert np.sign(found.z[row, latent]) == np.sign(centred.sum())


def test_max_t_is_a_plain_loop_over_all_labelings():
    table = noise(5, shift=3.0)
    found = significance(cells(table, np.ones((4, 3), int)), [1], permutations=64)
    centred = table - table.mean(0)
    deviation = np.sqrt((centred**2).mean(0).sum(0))
    scale = deviation + np.median(deviation)
    largest = [
        np.abs(sum(centred[e, g] for g, e in enumerate(picked)) / scale).max()
        for picked in itertools.product(range(4), repeat=3)
    ]
    z = centred[1].sum(0) / scale
    np.testing.assert_allclose(found.z[0], z, rtol=1e-5)
    expected = [(np.array(largest) >= abs(one) - 1e-9).mean() for one in z]
    np.testing.assert_allclose(found.p_max_t[0], expected, atol=1e-6)
    np.testing.assert_allclose(found.q[0], benjamini_hochberg(found.p[0]), rtol=1e-5)


def test_sampled_permutations_come_near_the_exact_ones_and_have_their_floor():
    table = noise(1, e=6, g=4, d=40, shift=4.0)
    base = cells(table, np.ones((6, 4), int))
    exact, drawn = significance(base, [0, 1], permutations=1296), significance(base, [0, 1], permutations=999, seed=3)
    assert exact.designs[0].exact
    assert not drawn.designs[0].exact
    # three standard errors of a share among 999 draws
    np.testing.assert_allclose(drawn.p, exact.p, atol=3 * np.sqrt(0.25 / 999))
    assert drawn.designs[0].floor == 1 / 1000
    assert drawn.designs[0].exact_floor == pytest.approx(1 / 6**4)
    assert drawn.p.min() >= 1 / 1000
    told = drawn.summary(1)
    assert told["q_floor"] == pytest.approx(40 / 1000)
    assert told["n_tested"] == 40


def test_planted_latents_are_found_and_others_are_not():
    rng = np.random.default_rng(7)
    table = rng.exponential(size=(20, 12, 400)) * (rng.random((20, 12, 400)) < 0.5)
    own = {e: (20 * e, 20 * e + 1, 20 * e + 2) for e in range(4)}
    for e, latents in own.items():
        table[e][:, latents] += 3.0
    found = significance(cells(table, np.ones((20, 12), int)), list(range(20)), permutations=4999)
    for e, latents in own.items():
        assert set(np.flatnonzero(found.p_max_t[e] <= 0.05)) >= set(latents)
        assert set(np.flatnonzero(found.p_max_t[e] <= 0.05)) <= set(latents) | {int(found.p[e].argmin())}
        told = found.summary(e)
        assert told["excess_max_t"] > 2
        assert told["null_max_t"] < 0.3
    wrong = [(found.p_max_t[e] <= 0.05).any() for e in range(4, 20)]
    assert np.mean(wrong) <= 0.25  # 16 emotions at a nominal 0.05: 4 or more have probability 0.007
    assert np.nanmean(found.p[4:] <= 0.05) == pytest.approx(0.05, abs=0.02)


def test_latents_that_fire_in_one_cell_do_not_hide_the_others():
    """A plainly standardised maximum is set by whichever rare latent a draw hits: p_max_t would be 1 here."""
    rng = np.random.default_rng(2)
    table = np.zeros((20, 8, 300))
    for latent in range(10, 300):
        table[rng.integers(20), rng.integers(8), latent] = 1.0
    table[:, :, :10] = rng.exponential(size=(20, 8, 10))
    table[3, :, 0] += 1.8
    found = significance(cells(table, np.ones((20, 8), int)), [3], permutations=1999)
    assert found.tested.all()
    assert found.p_max_t[0, 0] <= 0.05


def test_dead_dense_and_constant_latents_are_not_tested():
    table = noise(d=6)
    table[:, :, 0] = 0
    table[:, :, 1] = 2.0
    fired = np.array([0, 10, 10, 200, 10, 10.0])
    found = significance(cells(table, np.ones((4, 3), int), n_tokens=1000, fired=fired), [0, 1], permutations=99)
    assert list(np.flatnonzero(found.tested)) == [2, 4, 5]
    for values in (found.z, found.p, found.p_max_t, found.q):
        assert np.isnan(values[:, [0, 1, 3]]).all()
        assert np.isfinite(values[:, [2, 4, 5]]).all()
    everything = significance(
        cells(table, np.ones((4, 3), int), n_tokens=1000, fired=fired), [0], permutations=99, dense=1.0
    )
    assert list(np.flatnonzero(everything.tested)) == [2, 3, 4, 5]


def test_emotions_with_other_groups_are_drawn_from_those():
    n_texts = np.ones((4, 3), int)
    n_texts[0, 1] = 0
    table = noise(3) * n_texts[:, :, None]
    found = significance(cells(table, n_texts), [0, 1], permutations=999)
    assert found.designs[0].arrangements == 4 * 4
    assert found.designs[1].arrangements == 4 * 3 * 4
    there = n_texts.reshape(-1) > 0
    emotion, group = np.repeat(range(4), 3)[there], np.tile(range(3), 4)[there]
    for row, e in enumerate((0, 1)):
        values = table[:, :, 4].reshape(-1)[there]
        expected = label_permutation(values, emotion == e, blocks=group, permutations=999, seed=0)
        assert found.p[row, 4] == pytest.approx(expected.p, abs=1e-6)


def test_several_texts_of_a_cell_move_together():
    table, n_texts = noise(4), np.random.default_rng(0).integers(1, 4, (4, 3))
    base = significance(cells(table, np.ones((4, 3), int)), [2], permutations=99)
    more = significance(cells(table * n_texts[:, :, None], n_texts), [2], permutations=99)
    np.testing.assert_allclose(more.z, base.z, rtol=1e-4)
    np.testing.assert_array_equal(more.p, base.p)


def test_groups_of_one_emotion_are_exchanged_whole():
    n_texts = np.zeros((2, 8), int)
    n_texts[0, :4] = n_texts[1, 4:] = 1
    table = np.random.default_rng(1).exponential(size=(2, 8, 3)) * n_texts[:, :, None]
    table[0, :4, 0] += 5
    found = significance(cells(table, n_texts), [0], permutations=999)
    assert found.designs[0].arrangements == 70
    expected = label_permutation(table[:, :, 1].sum(0), np.arange(8) < 4, permutations=999, seed=0)
    assert found.p[0, 1] == pytest.approx(expected.p, abs=1e-6)
    # two-sided, and the mirror image is as far
    assert found.p[0, 0] == pytest.approx(2 / 70, abs=1e-6)


def test_where_nothing_can_be_permuted_nothing_is_claimed():
    (design, rows), *_ = designs(np.array([[2], [0]]), [0], permutations=99, seed=0)
    assert rows == [0]
    assert not design.possible
    found = significance(cells(np.ones((2, 1, 3)), np.array([[2], [0]])), [0], permutations=99)
    assert np.isnan(found.p).all()
    told = found.summary(0)
    assert told["n_tested"] == 0
    assert told["p_floor"] == 1
    assert np.isnan(told["null_q"])


def test_draws_follow_the_seed():
    base = cells(noise(1, e=8, g=6, d=20), np.ones((8, 6), int))
    one, again, other = (significance(base, [0], permutations=99, seed=seed).p for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
