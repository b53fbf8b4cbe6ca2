"""Batched pursuits against scikit-learn, scipy and plain loops: the same supports, the same coefficients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls
from sklearn.linear_model import lars_path, lasso_path, orthogonal_mp

from emovec_sae.decomposition.pursuits import PURSUITS, Dictionary
from emovec_sae.decomposition.pursuits.pursuit import BATCH
from emovec_sae.errors import ConfigError


def draw(seed, n=90, d=24, targets=7):
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, d)) + 0.8 * rng.standard_normal(d)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), rng.standard_normal((targets, d))


def pursue(name, rows, targets, k, **options):
    return PURSUITS[name].run(torch.as_tensor(targets), Dictionary(torch.as_tensor(rows), **options), k=k)


def dense(found, k, n):
    table = np.zeros((len(found.support), n))
    support = found.support[:, :k].numpy()
    for row, chosen in enumerate(support):
        table[row, chosen[chosen >= 0]] = found.coefficients(k)[row].double().numpy()[chosen >= 0]
    return table


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 12))
def test_omp_equals_scikit_learn(seed, k):
    rows, targets = draw(seed)
    mine = dense(pursue("omp", rows, targets, k), k, len(rows))
    theirs = orthogonal_mp(rows.T, targets.T, n_nonzero_coefs=k).reshape(len(rows), -1).T
    np.testing.assert_array_equal(mine != 0, theirs != 0)
    np.testing.assert_allclose(mine, theirs, atol=1e-9)


@pytest.mark.parametrize("quick", [False, True])
def test_omp_in_float32_chooses_the_same(quick):
    rows, targets = draw(1, n=2000, d=128, targets=20)
    found = pursue("omp", rows.astype(np.float32), targets.astype(np.float32), 32, quick=quick)
    theirs = orthogonal_mp(rows.T, targets.T, n_nonzero_coefs=32).T
    mine = dense(found, 32, len(rows))
    np.testing.assert_array_equal(mine != 0, theirs != 0)
    # float32: 32 steps, each of rounding 1e-7 on sums of 128 terms
    np.testing.assert_allclose(mine, theirs, atol=2e-5)


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 12))
def test_lasso_equals_the_lars_path_of_scikit_learn(seed, k):
    rows, targets = draw(seed, targets=3)
    found = pursue("lasso", rows, targets, k)
    for own, raw, target in zip(found.support.tolist(), found.raw.numpy(), targets, strict=True):
        _, _, path = lars_path(rows.T, target, method="lasso")
        entered, last = [], {}
        for column in path.T:
            entered += [row for row in np.flatnonzero(column) if row not in entered]
            last[len(entered)] = column  # until the next one enters
        assert own == entered[:k]
        for size in {1, k}:
            np.testing.assert_allclose(raw[size - 1, :size], last[size][own[:size]], atol=1e-8)


def test_lasso_coefficients_are_those_of_coordinate_descent():
    rows, targets = draw(2, targets=3)
    found = pursue("lasso", rows, targets, 8)
    for own, raw, target in zip(found.support.numpy(), found.raw[:, -1].numpy(), targets, strict=True):
        penalty = np.abs(rows @ (target - raw @ rows[own])).max()
        _, path, _ = lasso_path(rows.T, target, alphas=[penalty / len(target)], tol=1e-12, max_iter=100_000)
        mine = np.zeros(len(rows))
        mine[own] = raw
        np.testing.assert_allclose(mine, path[:, 0], atol=1e-6)  # its tolerance on the dual gap


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), n=st.sampled_from([10, 90]))
def test_nnls_equals_a_loop_around_scipy(seed, n):
    rows, targets = draw(seed, n=n, targets=3)
    k = 10
    found = pursue("nnls", rows, targets, k)
    for own, path, target in zip(found.support.tolist(), found.path.numpy(), targets, strict=True):
        chosen, left = [], target
        while len(chosen) < k:
            scores = rows @ left
            scores[chosen] = -np.inf
            if scores.max() < 1e-9 * np.linalg.norm(target):
                break
            chosen.append(int(scores.argmax()))
            solved, _ = nnls(rows[chosen].T, target)
            np.testing.assert_allclose(path[len(chosen) - 1, : len(chosen)], solved, atol=1e-8)
            left = target - solved @ rows[chosen]
        assert own == chosen + [-1] * (k - len(chosen))
        if len(chosen) < k:  # ended early: nothing is left for the whole dictionary either
            every, _ = nnls(rows.T, target)
            np.testing.assert_allclose(dense_of(own, path[-1], n), every, atol=1e-8)


def dense_of(support, coefficients, n):
    table = np.zeros(n)
    for row, value in zip(support, coefficients, strict=True):
        if row >= 0:
            table[row] += value
    return table


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000))
def test_gradient_pursuit_equals_a_plain_loop(seed):
    rows, targets = draw(seed, targets=2)
    found = pursue("gp", rows, targets, 8)
    for b, target in enumerate(targets):
        chosen, y = [], np.zeros(len(rows))
        for _ in range(8):
            left = target - y @ rows
            scores = np.abs(rows @ left)
            scores[chosen] = -1
            chosen.append(int(scores.argmax()))
            gradient = np.zeros(len(rows))
            gradient[chosen] = rows[chosen] @ left
            # The step that minimises |left - a * gradient @ rows|, found by least squares
            y += np.linalg.lstsq((gradient @ rows)[:, None], left, rcond=None)[0] * gradient
            np.testing.assert_allclose(found.path[b, len(chosen) - 1, : len(chosen)], y[chosen], atol=1e-9)
        assert found.support[b].tolist() == chosen


def test_cosine_takes_the_largest_with_and_without_a_refit():
    rows, targets = draw(3)
    found = pursue("cosine", rows, targets, 5)
    cosines = targets @ rows.T
    for b, target in enumerate(targets):
        best = np.argsort(-np.abs(cosines[b]))[:5]
        np.testing.assert_array_equal(found.support[b], best)
        np.testing.assert_allclose(found.raw[b, -1], cosines[b, best])
        np.testing.assert_allclose(found.path[b, 2, :3], np.linalg.lstsq(rows[best[:3]].T, target, rcond=None)[0])
        assert (found.path[b, 2, 3:] == 0).all()


@pytest.mark.parametrize("name", PURSUITS)
def test_curves_are_those_of_the_partial_sums(name):
    rows, targets = draw(4)
    found, at = pursue(name, rows, targets, 8), (1, 3, 8)
    curve = found.curve(torch.from_numpy(targets), Dictionary(torch.from_numpy(rows)), at)
    assert {"cosine", "r2", "share", "count"} <= set(curve.quantities)
    assert ("raw_r2" in curve.quantities) == (name in ("lasso", "cosine"))
    for column, size in enumerate(at):
        total = dense(found, size, len(rows)) @ rows
        norm = np.linalg.norm(targets, axis=1)
        inner = (total * targets).sum(1)
        np.testing.assert_allclose(curve.r2[:, column], 1 - ((targets - total) ** 2).sum(1) / norm**2)
        np.testing.assert_allclose(curve.cosine[:, column], inner / np.linalg.norm(total, axis=1) / norm)
        shares = np.abs(dense(found, size, len(rows)) * (targets @ rows.T))
        np.testing.assert_allclose(curve.quantities["count"][:, column], shares.sum(1) ** 2 / (shares**2).sum(1))


@pytest.mark.parametrize("name", PURSUITS)
def test_batches_do_not_matter_and_dead_rows_are_never_chosen(name):
    rows, targets = draw(5, targets=BATCH + 3)
    rows[10:20] = 0
    whole, part = pursue(name, rows, targets, 5), pursue(name, rows, targets[-3:], 5)
    torch.testing.assert_close(whole.support[-3:], part.support)
    torch.testing.assert_close(whole.path[-3:], part.path)
    assert not ((whole.support >= 10) & (whole.support < 20)).any()


@pytest.mark.parametrize("name", PURSUITS)
@pytest.mark.parametrize("k", [0, 25])
def test_impossible_sizes_are_refused(name, k):
    rows, targets = draw(6)
    with pytest.raises(ConfigError, match="1 to 24"):
        pursue(name, rows, targets, k)


@settings(max_examples=20)
@example(seed=110, signed=False, lean=3.0, s=1)  # a long vector that all rows oppose: what is taken stays taken
@given(seed=st.integers(0, 10_000), signed=st.booleans(), lean=st.sampled_from([0.0, 3.0]), s=st.integers(0, 3))
def test_the_search_through_bfloat16_finds_what_float32_finds(seed, signed, lean, s):
    """Rows that lean the same way have nearly equal scores: the hard case."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((700, 48)) + lean * rng.standard_normal(48)
    rows = torch.from_numpy(rows / np.linalg.norm(rows, axis=1, keepdims=True)).float()
    left = torch.from_numpy(rng.standard_normal((9, 48)) * 10.0 ** rng.integers(-6, 6, (9, 1))).float()
    taken = torch.from_numpy(rng.integers(0, 700, (9, s)))
    quick, slow = Dictionary(rows, quick=True), Dictionary(rows, quick=False)
    found, exact = quick.best(left, taken, signed=signed), slow.best(left, taken, signed=signed)
    scores = left.double() @ rows.double().T
    scores = scores.abs() if signed else scores
    every = torch.arange(9)
    assert not (found[:, None] == taken).any()
    assert not (exact[:, None] == taken).any()
    # Equal but for ties within the rounding of float32
    gap = (scores[every, exact] - scores[every, found]) / left.norm(dim=1)
    assert gap.abs().max() < 1e-6


def test_the_search_gives_up_on_bfloat16_where_all_rows_are_alike():
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal((9000, 16))).float()
    rows = torch.nn.functional.normalize(1 + 1e-4 * noise, dim=1)
    left, nobody = rows[[7, 800]], torch.zeros(2, 0, dtype=torch.long)
    quick = Dictionary(rows, quick=True)
    assert quick._quick(left, nobody, signed=True) is None
    torch.testing.assert_close(quick.best(left, nobody), Dictionary(rows, quick=False).best(left, nobody))
