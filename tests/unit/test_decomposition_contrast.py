"""The contrast identity on planted latents: exact, encoded per token, and held against plain loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_store import SITE, MemoryStore, plant, planted_coder

from emovec_sae.decomposition import cells as cells_module
from emovec_sae.decomposition.api import decompose
from emovec_sae.decomposition.intervals import group_intervals
from emovec_sae.directions.fit import fit_directions
from emovec_sae.errors import ConfigError, MismatchError, StoreError
from emovec_sae.sites import Site
from emovec_sae.stats import bootstrap_mean


def directions(store, removed=None):
    found = fit_directions(store, site=str(SITE))
    if removed is None:
        return found
    vectors = found.vectors - found.vectors @ removed.T @ removed
    return replace(found, vectors=vectors.astype(np.float32), removed=removed.astype(np.float32))


def run(planted, *, removed=None, **options):
    settings = {"k": 6, "nulls": 10}
    return decompose(directions(planted.store, removed), planted_coder(planted), planted.store, **(settings | options))


def naive_delta(planted, coder, encode):
    """Mean over texts of each emotion of `encode(text tokens)`, minus the mean over emotions; a plain loop."""
    store = planted.store
    means = {}
    for emotion in sorted(store.frame["emotion"].unique()):
        own = []
        for row in np.flatnonzero(store.frame["emotion"] == emotion):
            own.append(encode(coder, store.texts[row][store.offset :]))
        means[emotion] = np.mean(own, axis=0)
    grand = np.mean(list(means.values()), axis=0)
    return np.stack([mean - grand for mean in means.values()])


def per_token(coder, tokens):
    total = np.zeros(coder.d_sae)
    for token in tokens:
        total += coder.encode(torch.from_numpy(token[None]))[0].double().numpy()
    return total / len(tokens)


def pooled_first(coder, tokens):
    return coder.encode(torch.from_numpy(tokens.mean(0, keepdims=True)))[0].double().numpy()


@settings(max_examples=12)
@given(seed=st.integers(0, 99), noise=st.sampled_from([0.0, 0.5]), uneven=st.booleans(), m=st.integers(0, 3))
def test_identity_holds_in_float32(seed, noise, uneven, m):
    planted = plant(seed=seed, noise=noise, uneven=uneven)
    removed = np.linalg.qr(np.random.default_rng(seed).standard_normal((24, 3)))[0].T[:m] if m else None
    found = run(planted, removed=removed, k=16)
    assert (found.summary["identity_error"] < 1e-4).all()
    total = found.ranks.groupby("emotion")["share"].sum().to_numpy() + found.summary["error_share"].to_numpy()
    np.testing.assert_allclose(total, 1, atol=1e-4)
    for row, emotion in enumerate(found):
        error = found.vectors[row] - found.vector(emotion)
        share = error @ found.vectors[row] / (found.vectors[row] @ found.vectors[row])
        assert share == pytest.approx(found.summary["error_share"][row], abs=1e-4)


@pytest.mark.parametrize("uneven", [False, True])
def test_deltas_equal_a_naive_loop_over_tokens(uneven):
    planted = plant(noise=0.3, uneven=uneven)
    coder = planted_coder(planted)
    found = run(planted, k=16)
    np.testing.assert_array_equal(found.index, np.arange(16))
    np.testing.assert_allclose(found.coefficients, naive_delta(planted, coder, per_token), atol=1e-5)


def test_encoding_the_pooled_mean_gives_other_deltas():
    """The trap of science.md 3: that passes the identity too, but is not what the latents do."""
    planted = plant(noise=0.3)
    coder = planted_coder(planted)
    right, wrong = naive_delta(planted, coder, per_token), naive_delta(planted, coder, pooled_first)
    assert np.linalg.norm(right - wrong) > 0.05 * np.linalg.norm(right)
    found = run(planted, k=16)
    assert np.linalg.norm(found.coefficients - right) < 1e-4 * np.linalg.norm(right)


def test_planted_latents_come_back_with_their_signs():
    planted = plant(emotions=4, groups=6, repeats=2)
    found = run(planted, k=16)
    assert (found.summary["error_share"].abs() < 1e-4).all()
    for e, emotion in enumerate(found):
        latents, coefficients = found.latents(emotion, 1)
        assert latents[0] == e
        assert coefficients[0] > 0.5
        own = dict(zip(*(values.tolist() for values in found.latents(emotion)), strict=True))
        assert own[8 + e] < 0
    assert found.frame().query("latent == 15")["share"].abs().max() < 0.05


def test_dense_latents_are_marked_not_dropped():
    found = run(plant(), k=16)
    rows = found.frame()
    assert rows["dense"].sum() > 0
    assert (rows["dense"] == (rows["firing_rate"] > 0.1)).all()
    assert (rows.query("latent == 15")["firing_rate"] == 1).all()
    kept, _ = found.latents("e0", dense=False)
    assert set(kept) == set(rows.query("emotion == 'e0' and not dense")["latent"])


def test_firing_rate_and_cohens_d_are_those_of_the_pooled_tokens():
    planted = plant(repeats=3)
    rows = run(planted, k=16).frame().query("emotion == 'e1'").set_index("latent").sort_index()
    pooled = [text[2:] for text in planted.latents]
    np.testing.assert_allclose(rows["firing_rate"], (np.concatenate(pooled) > 0).mean(0), atol=1e-12)
    means = np.stack([text.mean(0) for text in pooled])
    emotion = planted.store.frame["emotion"].to_numpy()
    within = np.concatenate([means[emotion == e] - means[emotion == e].mean(0) for e in np.unique(emotion)])
    spread = np.sqrt((within**2).sum(0) / (len(means) - 3))
    np.testing.assert_allclose(rows["cohens_d"], rows["coefficient"] / spread, rtol=1e-3)


@settings(max_examples=8)
@given(gain=st.floats(0.2, 5), seed=st.integers(0, 50))
def test_shares_do_not_change_with_gain_or_the_order_of_texts(gain, seed):
    planted = plant(seed=seed)
    base = run(planted, nulls=0).frame()
    order = np.random.default_rng(seed).permutation(len(planted.store))
    planted.store = planted.store.where(order)
    planted.store.texts = [gain * text for text in planted.store.texts]
    planted.bias = gain * planted.bias
    moved = run(planted, nulls=0).frame()
    np.testing.assert_array_equal(moved["latent"], base["latent"])
    np.testing.assert_allclose(moved["share"], base["share"], atol=1e-4)
    np.testing.assert_allclose(moved["coefficient"], gain * base["coefficient"], rtol=1e-3, atol=1e-3)


def test_a_single_direction_gives_its_own_rows():
    planted = plant()
    whole = run(planted, nulls=0)
    one = decompose(directions(planted.store)["e1"], planted_coder(planted), planted.store, k=6, nulls=0)
    assert one.emotions == ("e1",)
    expected = whole.frame().query("emotion == 'e1'").reset_index(drop=True)
    np.testing.assert_allclose(one.frame()["share"], expected["share"], atol=1e-6)
    np.testing.assert_array_equal(one.frame()["latent"], expected["latent"])


def test_texts_that_the_directions_never_saw_are_passed_over():
    planted = plant(groups=5)
    seen = (planted.store.frame["group"] != "g4").to_numpy() & (planted.store.frame["emotion"] != "e2").to_numpy()
    fitted = fit_directions(planted.store.where(seen), site=str(SITE))
    coder = planted_coder(planted)
    neutral = planted.store.frame.assign(emotion=[None, *planted.store.frame["emotion"][1:]])
    assert neutral["emotion"].isna().sum() == 1
    whole = decompose(fitted, coder, planted.store, k=4, nulls=0)
    only = decompose(fitted, coder, planted.store.where(seen), k=4, nulls=0)
    np.testing.assert_allclose(whole.coefficients, only.coefficients)


def test_a_large_table_on_disk_gives_the_same(monkeypatch):
    planted = plant(noise=0.3)
    base = run(planted)
    straight = cells_module._table
    monkeypatch.setattr(cells_module, "_table", lambda rows, columns, budget: straight(rows, columns, 0))
    mapped = run(planted)
    np.testing.assert_array_equal(mapped.coefficients, base.coefficients)
    np.testing.assert_allclose(mapped.frame()[["share", "low", "high"]], base.frame()[["share", "low", "high"]])
    assert isinstance(cells_module._table(3, 4, 0), np.memmap)


def test_real_vectors_beat_their_nulls_and_random_data_does_not():
    found = run(plant(emotions=4, groups=8, repeats=2), nulls=60, k=4)
    at = found.curve.query("k == 1")
    assert (at["cosine"] > at["null_high"]).all()
    assert (at["cosine"] > at["permuted_mean"]).all()
    first = found.frame().query("rank == 1")
    assert (first["share"] > first["null_high"]).all()
    shuffled = plant(emotions=4, groups=8, repeats=2)
    rng = np.random.default_rng(5)
    shuffled.store.frame["emotion"] = shuffled.store.frame.groupby("group")["emotion"].transform(rng.permutation)
    noise = run(shuffled, nulls=60, k=4).curve.query("k == 1")
    inside = (noise["cosine"] > noise["permuted_low"] - 0.05) & (noise["cosine"] < noise["permuted_high"] + 0.05)
    assert inside.all()


def test_nulls_follow_the_seed_and_can_be_left_out():
    planted = plant()
    one, again, other = (run(planted, nulls=20, seed=seed) for seed in (1, 1, 2))
    assert one.nulls().equals(again.nulls())
    assert not one.nulls().equals(other.nulls())
    assert len(run(planted, nulls=0).nulls()) == 0
    assert run(planted, nulls=0).frame()["null_high"].isna().all()


def test_intervals_over_groups_hold_the_share():
    rows = run(plant(groups=6, repeats=2, noise=0.2), k=16).frame()
    assert ((rows["low"] <= rows["share"]) & (rows["share"] <= rows["high"])).all()
    assert run(plant(groups=1, repeats=4), k=2).frame()["low"].isna().all()


@pytest.mark.parametrize("groups", [5, 30])
def test_intervals_agree_with_the_stats_room(groups):
    values = np.random.default_rng(0).standard_normal((3, groups)) + 1
    low, high = group_intervals(values, values.mean(1), seed=0)
    for row in range(3):
        expected = bootstrap_mean(values[row], seed=0)
        # 2,000 resamples leave about 0.02 standard deviations at the ends; the t path is exact
        tolerance = 1e-9 if groups < 20 else 0.05
        assert (low[row], high[row]) == pytest.approx((expected.low, expected.high), abs=tolerance)


def test_a_group_without_an_emotion_leaves_its_interval_to_the_others():
    values = np.array([[1.0, np.nan, 3.0, 2.0], [np.nan, np.nan, np.nan, 1.0]])
    low, high = group_intervals(values, np.array([2.0, 1.0]), seed=0)
    expected = bootstrap_mean([1.0, 3.0, 2.0], seed=0)
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high))
    assert np.isnan([low[1], high[1]]).all()


def test_pooled_values_alone_are_refused():
    planted = plant()
    pooled = MemoryStore(planted.store.texts, planted.store.frame, has_tokens=False)
    with pytest.raises(StoreError):
        decompose(directions(planted.store), planted_coder(planted), pooled)


def test_a_text_too_short_for_the_pooling_is_an_error():
    planted = plant()
    fitted = directions(planted.store)
    planted.store.texts[3] = planted.store.texts[3][:2]
    with pytest.raises(StoreError, match="1 texts have no pooled token"):
        decompose(fitted, planted_coder(planted), planted.store)


def test_what_does_not_belong_together_is_refused():
    planted, other = plant(), plant(seed=7)
    fitted, coder = directions(planted.store), planted_coder(planted)
    with pytest.raises(MismatchError, match="fitted on other texts"):
        decompose(fitted, coder, other.store, override=True)
    with pytest.raises(MismatchError, match=r"reads resid_post\.1, these activations are resid_post\.2"):
        decompose(fitted, planted_coder(planted, site=Site("resid_post", 1)), planted.store)
    with pytest.raises(MismatchError, match="trained on model 'x'"):
        decompose(
            fitted, planted_coder(planted, facts={"model": {"name": "x", "fingerprint": "0" * 64}}), planted.store
        )
    with pytest.raises(MismatchError, match="these directions come from 'planted'"):
        decompose(fitted, coder, MemoryStore(planted.store.texts, planted.store.frame, fingerprint="0" * 64))
    with pytest.raises(MismatchError, match="no text of 'e2'"):
        decompose(fitted, coder, planted.store.where((planted.store.frame["emotion"] != "e2").to_numpy()))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "encode"}, "2411.08790"),
        ({"method": "contrst"}, "did you mean 'contrast'"),
        ({"k": 0}, "between 1 and 16"),
        ({"k": 17}, "between 1 and 16"),
        ({"nulls": -1}, "nulls must be 0 or more"),
    ],
)
def test_impossible_requests_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        run(plant(), **options)


def test_contrast_needs_activations():
    planted = plant()
    with pytest.raises(ConfigError, match="needs the activations"):
        decompose(directions(planted.store), planted_coder(planted))
