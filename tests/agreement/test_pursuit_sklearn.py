"""Batched pursuit against scikit-learn's orthogonal_mp: the same supports, the same coefficients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import orthogonal_mp

from emovec_sae.decomposition.pursuit import BATCH, _in_batches, orthogonal_pursuit
from emovec_sae.errors import ConfigError


def draw(seed, n=90, d=24, targets=7):
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, d)) + 0.8 * rng.standard_normal(d)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), rng.standard_normal((targets, d))


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 12))
def test_supports_and_coefficients_equal_scikit_learn(seed, k):
    rows, targets = draw(seed)
    found = orthogonal_pursuit(torch.from_numpy(targets), torch.from_numpy(rows), k=k)
    theirs = orthogonal_mp(rows.T, targets.T, n_nonzero_coefs=k).reshape(len(rows), -1).T
    mine = np.zeros_like(theirs)
    np.put_along_axis(mine, found.support.numpy(), found.coefficients(k).numpy(), axis=1)
    np.testing.assert_array_equal(mine != 0, theirs != 0)
    np.testing.assert_allclose(mine, theirs, atol=1e-9)
    left = targets - mine @ rows
    np.testing.assert_allclose(found.r2[:, -1], 1 - (left**2).sum(1) / (targets**2).sum(1), atol=1e-9)


def test_float32_chooses_the_same():
    rows, targets = draw(1, n=2000, d=128, targets=20)
    found = orthogonal_pursuit(torch.from_numpy(targets).float(), torch.from_numpy(rows).float(), k=32)
    theirs = orthogonal_mp(rows.T, targets.T, n_nonzero_coefs=32).T
    mine = np.zeros_like(theirs)
    np.put_along_axis(mine, found.support.numpy(), found.coefficients(32).double().numpy(), axis=1)
    np.testing.assert_array_equal(mine != 0, theirs != 0)
    # float32: 32 steps, each of rounding 1e-7 on sums of 128 terms
    np.testing.assert_allclose(mine, theirs, atol=2e-5)


def test_coefficients_of_fewer_choices_are_refitted():
    rows, targets = draw(3)
    long = orthogonal_pursuit(torch.from_numpy(targets), torch.from_numpy(rows), k=10)
    short = orthogonal_pursuit(torch.from_numpy(targets), torch.from_numpy(rows), k=4)
    torch.testing.assert_close(long.support[:, :4], short.support)
    torch.testing.assert_close(long.coefficients(4), short.coefficients(4))


def test_r2_grows_and_signs_turn_with_the_target():
    rows, targets = (torch.from_numpy(array) for array in draw(4))
    found, turned = orthogonal_pursuit(targets, rows, k=8), orthogonal_pursuit(-targets, rows, k=8)
    assert (found.r2.diff(dim=1) > -1e-12).all()
    torch.testing.assert_close(found.support, turned.support)
    torch.testing.assert_close(found.coefficients(8), -turned.coefficients(8))


def test_batches_do_not_matter_and_dead_rows_are_never_chosen():
    rows, targets = (torch.from_numpy(array) for array in draw(5, targets=BATCH + 3))
    rows[10:20] = 0
    whole = _in_batches(targets, rows, 5)
    torch.testing.assert_close(whole.support[-3:], orthogonal_pursuit(targets[-3:], rows, k=5).support)
    assert not ((whole.support >= 10) & (whole.support < 20)).any()


@pytest.mark.parametrize("k", [0, 25])
def test_impossible_sizes_are_refused(k):
    rows, targets = draw(6)
    with pytest.raises(ConfigError, match="1 to 24"):
        orthogonal_pursuit(torch.from_numpy(targets), torch.from_numpy(rows), k=k)
