"""Planted truth: dictionaries with known signed codes, which methods find where theory says that they can.

`contrast` reads the SAE's latents on every token: where the encoder reads them rightly, and noise lies below its
threshold, its Deltas are the codes, however coherent the rows. Its ranks go by share, ``Delta_j <d_j, v> / |v|^2``: a
latent's share is positive where its own part outweighs what the others put on its row, ``|Delta_j| > sum_i |Delta_i|
|<d_i, d_j>|`` over the others: rows that are not too much alike.

`omp` sees the vector only. It finds k rows of n random ones in d dimensions with high probability while k is below
about ``d / (2 ln n)`` (Tropp and Gilbert 2007), and any k rows of coherence below ``1 / (2 k - 1)`` (Tropp 2004).

`encode` treats the vector as an activation: its bias and thresholds decide, and nothing comes out negative.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_store import MemoryStore

from emovec_sae.decomposition.api import decompose
from emovec_sae.decomposition.encode import COLUMNS
from emovec_sae.decomposition.pursuits import PURSUITS, Dictionary
from emovec_sae.directions.fit import fit_directions
from emovec_sae.errors import ConfigError
from emovec_sae.testing import planted_codes

CASES = {
    "plain": {},
    "correlated": {"d_sae": 120, "d": 160, "coherence": 0.5},
    "dense": {"dense": 4},
    "noisy": {"noise": 0.1},
    "absorbed": {"absorbed": True},
    "everything": {"d_sae": 120, "d": 160, "coherence": 0.4, "dense": 4, "noise": 0.05, "absorbed": True},
}


def found_by(planted, method, **options):
    store = MemoryStore(planted.texts, planted.frame)
    vectors = fit_directions(store, site="resid_post.2")
    size = options.pop("k", planted.own.shape[1])
    if method == "contrast":
        options["contrast"] = {"permutations": 0}
    return decompose(vectors, planted.coder, store, method=method, k=size, nulls=0, **options)


def f1(found, planted):
    """Mean over emotions of F1 over (latent, sign) pairs, against the k latents of largest code."""
    scores = []
    for row, emotion in enumerate(found):
        code = planted.codes[row]
        truth = {(j, np.sign(code[j])) for j in np.argsort(-np.abs(code))[: planted.own.shape[1]]}
        latents, coefficients = found.latents(emotion)
        got = {(j, np.sign(c)) for j, c in zip(latents.tolist(), coefficients, strict=True) if c != 0}
        scores.append(2 * len(truth & got) / (len(truth) + len(got)))
    return float(np.mean(scores))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_contrast_and_omp_find_support_and_sign_where_encode_fails(case, seed):
    planted = planted_codes(**CASES[case], seed=seed)
    contrast, omp = found_by(planted, "contrast"), found_by(planted, "omp")
    assert f1(contrast, planted) >= 0.95
    assert f1(omp, planted) >= 0.95
    # Seen: 0.0 to 0.2. A blind choice of 6 latents and signs of 96 has about 0.03.
    assert f1(found_by(planted, "encode", allow_encode=True), planted) < 0.4


def test_deltas_are_the_codes():
    planted = planted_codes(coherence=0.5, d_sae=120, d=160, dense=4, absorbed=True)
    found = found_by(planted, "contrast")
    for row, emotion in enumerate(found):
        latents, coefficients = found.latents(emotion)
        # Each latent is drawn within 20 % of its code on 48 tokens: a standard error of 0.12 / sqrt(48) of it
        np.testing.assert_allclose(coefficients, planted.codes[row, latents], rtol=0.1)
    assert not set(found.index) & set(planted.dense)


def test_an_absorbed_latent_does_not_count_where_its_child_fires():
    planted = planted_codes(absorbed=True)
    found, parent = found_by(planted, "contrast", k=7), planted.own[-1, 0]
    child = int(np.flatnonzero(planted.codes[-2] > 0.5)[-1])
    assert child not in planted.own
    assert child in found.latents("e4")[0]
    assert parent not in found.latents("e4")[0]
    assert parent in found.latents("e5")[0]


def test_without_a_bias_encode_still_finds_nothing_negative():
    """The second fault alone: what the emotion lowers cannot come out."""
    planted = planted_codes(bias=0.0)
    found = found_by(planted, "encode", allow_encode=True)
    assert (found.ranks["coefficient"] > 0).all()
    assert f1(found, planted) < 0.85  # two of six are lowered: at most 4 of 6 are right, 8 / 10 with none wrong
    table = found.summary
    assert (table["negative"] == 0).all()
    assert (table["negative_wanted"] > 0.2).all()
    assert (table["active_zero"] == 0).all()


def test_encode_carries_what_gives_it_away():
    planted = planted_codes()
    found = found_by(planted, "encode", allow_encode=True)
    assert set(COLUMNS) <= set(found.summary.columns)
    # The bias is three times as long as a vector: it decides what fires, whatever the vector
    assert (found.summary["overlap_zero"] > 0.5).all()
    assert (found.summary["overlap_minus"] > 0.4).all()
    with pytest.raises(ConfigError, match="ask twice"):
        found_by(planted, "encode")


def random_targets(rng, n, d, k, targets, noise):
    rows = rng.standard_normal((n, d))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    support = np.stack([rng.choice(n, k, replace=False) for _ in range(targets)])
    signs = rng.choice([-1.0, 1.0], (targets, k))
    made = np.einsum("bk,bkd->bd", signs * rng.uniform(0.7, 1.3, (targets, k)), rows[support])
    return rows, support, signs, made + noise * rng.standard_normal((targets, d)) / np.sqrt(d)


@pytest.mark.parametrize(("k", "found"), [(6, True), (48, False)])
def test_omp_on_an_overcomplete_dictionary_up_to_what_theory_allows(k, found):
    """128 dimensions, 1024 rows: d / (2 ln n) is 9.2; and beyond it, it fails as it must."""
    rows, support, signs, targets = random_targets(np.random.default_rng(1), 1024, 128, k, 60, noise=0.1)
    got = PURSUITS["omp"].run(torch.from_numpy(targets), Dictionary(torch.from_numpy(rows)), k=k)
    scores = []
    for b in range(len(targets)):
        truth = set(zip(support[b].tolist(), signs[b].tolist(), strict=True))
        mine = set(zip(got.support[b].tolist(), got.coefficients(k)[b].sign().tolist(), strict=True))
        scores.append(len(truth & mine) / k)
    assert (np.mean(scores) >= 0.95) == found
    assert found or np.mean(scores) < 0.6


def test_nnls_finds_codes_without_negative_parts():
    rng = np.random.default_rng(2)
    rows, support, signs, _ = random_targets(rng, 512, 128, 6, 40, noise=0.0)
    targets = np.einsum("bk,bkd->bd", np.abs(signs), rows[support])
    got = PURSUITS["nnls"].run(torch.from_numpy(targets), Dictionary(torch.from_numpy(rows)), k=6)
    assert (got.path >= 0).all()
    shares = [len(set(a) & set(b)) / 6 for a, b in zip(got.support.tolist(), support.tolist(), strict=True)]
    assert np.mean(shares) >= 0.95


@settings(max_examples=15)
@given(name=st.sampled_from(list(PURSUITS)), seed=st.integers(0, 999), gain=st.floats(0.01, 100))
def test_pursuits_follow_scale_order_and_sign(name, seed, gain):
    rng = np.random.default_rng(seed)
    rows, _, _, targets = random_targets(rng, 60, 20, 4, 5, noise=0.5)
    order = rng.permutation(len(rows))
    kept = rows.copy(), targets.copy()
    base = run(name, rows, targets)
    scaled = run(name, rows, gain * targets)
    torch.testing.assert_close(scaled.support, base.support)
    torch.testing.assert_close(scaled.path, gain * base.path, rtol=1e-6, atol=1e-9 * gain)
    moved = run(name, rows[order], targets)
    there = base.support >= 0
    torch.testing.assert_close(torch.from_numpy(order)[moved.support.clamp_min(0)][there], base.support[there])
    torch.testing.assert_close(moved.path, base.path, rtol=1e-6, atol=1e-9)
    if name != "nnls":
        turned = run(name, rows, -targets)
        torch.testing.assert_close(turned.support, base.support)
        torch.testing.assert_close(turned.path, -base.path, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(rows, kept[0])
    np.testing.assert_array_equal(targets, kept[1])


def run(name, rows, targets):
    return PURSUITS[name].run(torch.from_numpy(targets), Dictionary(torch.from_numpy(rows)), k=6)


def test_codes_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="72 latents are to be planted"):
        planted_codes(coherence=0.5, d_sae=60)
    with pytest.raises(ConfigError, match="d is 64"):
        planted_codes(d=64)
