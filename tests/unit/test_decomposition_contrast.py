"""The contrast identity on planted latents: exact, encoded per token, and held against plain loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_store import SITE, MemoryStore, plant, planted_coder
from sklearn.metrics import roc_auc_score

from emovec_sae.decomposition import cells as cells_module
from emovec_sae.decomposition import text_means
from emovec_sae.decomposition.api import decompose
from emovec_sae.decomposition.files import load_decomposition
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


def test_rates_and_auroc_are_those_of_a_plain_loop():
    planted = plant(repeats=3, noise=0.2)
    coder = planted_coder(planted)
    found = run(planted, k=16)
    emotion = planted.store.frame["emotion"].to_numpy()
    fires = [coder.encode(torch.from_numpy(text[planted.store.offset :])).numpy() for text in planted.store.texts]
    means = np.stack([text.mean(0) for text in fires])
    for name in found:
        own = emotion == name
        rows = found.frame().query("emotion == @name").set_index("latent").sort_index()
        tokens = np.concatenate([text for text, mine in zip(fires, own, strict=True) if mine]) > 0
        np.testing.assert_allclose(rows["emotion_rate"], tokens.mean(0))
        texts = np.stack([(text > 0).any(0) for text in fires])
        np.testing.assert_allclose(rows["emotion_text_rate"], texts[own].mean(0))
        np.testing.assert_allclose(rows["text_rate"], texts.mean(0))
        np.testing.assert_allclose(rows["auroc"], [roc_auc_score(own, column) for column in means.T])
    rate = np.concatenate(fires).astype(bool).mean(0)
    np.testing.assert_allclose(found.firing_rate, rate)


def test_each_group_weighs_the_same_where_that_is_asked():
    planted = plant(uneven=True, noise=0.3)
    coder, store = planted_coder(planted), planted.store
    found = run(planted, k=16, contrast={"weights": "groups"})
    means = {
        name: np.mean(
            [
                np.mean([per_token(coder, store.texts[row][store.offset :]) for row in rows.index], axis=0)
                for _, rows in own.groupby("group")
            ],
            axis=0,
        )
        for name, own in store.frame.groupby("emotion")
    }
    grand = np.mean(list(means.values()), axis=0)
    np.testing.assert_allclose(found.coefficients, np.stack([means[e] - grand for e in found]), atol=1e-5)
    assert (found.summary["identity_error"] < 1e-4).all()
    assert found.provenance["settings"]["weights"] == "groups"
    plain = run(planted, k=16)
    assert not np.allclose(plain.coefficients[0], found.coefficients[0], atol=1e-3)
    for row in range(len(found)):
        a, b = found.vectors[row], plain.vectors[row]
        assert found.summary["cosine_texts"][row] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    np.testing.assert_allclose(found.summary["n_texts"], plain.summary["n_texts"])
    even = plant(noise=0.3)
    one, other = run(even, k=16), run(even, k=16, contrast={"weights": "groups"})
    np.testing.assert_allclose(one.coefficients, other.coefficients, atol=1e-6)


def rare(*, kept=(15,), **options):
    """Planted texts in which few tokens carry any latent but the kept ones."""
    planted = plant(tokens=80, **options)
    rng = np.random.default_rng(1)
    for text, latents in zip(planted.store.texts, planted.latents, strict=True):
        gone = latents * (rng.random(latents.shape) > 0.06)
        gone[:, kept] = 0
        text -= (gone @ planted.directions).astype(np.float32)
    return planted


def test_dropped_dense_latents_leave_ranks_but_not_the_identity():
    planted = rare(kept=(0, 15), groups=6)
    kept, dropped = run(planted, k=2), run(planted, k=2, contrast={"dense": "drop"})
    assert not dropped.frame()["dense"].any()
    assert kept.frame()["dense"].any()
    assert (dropped.firing_rate[dropped.frame()["latent"]] <= 0.1).all()
    assert (dropped.summary["identity_error"] < 1e-4).all()
    np.testing.assert_allclose(dropped.summary["error_share"], kept.summary["error_share"], atol=1e-6)
    total = dropped.ranks.groupby("emotion")["share"].sum().to_numpy() + dropped.summary["other_share"]
    np.testing.assert_allclose(total + dropped.summary["error_share"], 1, atol=1e-4)
    whole = run(planted, k=16).frame().set_index(["emotion", "latent"])
    for row in dropped.frame().itertuples():
        assert row.share == pytest.approx(whole.loc[(row.emotion, row.latent), "share"], abs=1e-6)
        assert row.coefficient == pytest.approx(whole.loc[(row.emotion, row.latent), "coefficient"], abs=1e-6)
    with pytest.raises(ConfigError, match="are left when dense ones are dropped, k is 16"):
        run(planted, k=16, contrast={"dense": "drop"})


def test_latents_that_tell_emotions_apart_pass_their_tests(tmp_path):
    found = run(rare(emotions=4, groups=8), k=4, contrast={"permutations": 1999})
    table = found.significant()
    for e, emotion in enumerate(found):
        assert e in found.significant(emotion)["latent"].to_numpy()
        assert (found.significant(emotion, by="q")["q"] <= 0.05).all()
        own = found.frame().query("emotion == @emotion and latent == @e").iloc[0]
        row = table.query("emotion == @emotion and latent == @e").iloc[0]
        assert own[["z", "p", "p_max_t", "q", "share"]].tolist() == row[["z", "p", "p_max_t", "q", "share"]].tolist()
    assert (found.summary["n_max_t"] == table.groupby("emotion").size().reindex(found.emotions).to_numpy()).all()
    assert (found.summary["excess_max_t"] > 0).all()
    assert (found.summary["p_floor"] == 1 / 2000).all()
    again = load_decomposition(found.save(tmp_path / "parts.parquet"))
    pd.testing.assert_frame_equal(again.significant(), table)
    np.testing.assert_array_equal(again.firing_rate, found.firing_rate)
    with pytest.raises(ConfigError, match=r"level is 0\.2; latents are kept up to 0\.1"):
        found.significant(level=0.2)
    with pytest.raises(ConfigError, match="did you mean 'max_t'"):
        found.significant(by="max")
    with pytest.raises(ConfigError, match="'e9' was not decomposed"):
        found.significant("e9")


def test_without_permutations_nothing_is_tested():
    found = run(plant(), contrast={"permutations": 0})
    assert found.frame()["q"].isna().all()
    assert "n_q" not in found.summary
    with pytest.raises(ConfigError, match="no latent was tested"):
        found.significant()


def test_files_from_before_the_tests_are_read(tmp_path):
    """They hold neither firing rates nor tests."""
    found = run(plant())
    old = replace(found, firing_rate=None, tests=None)
    again = load_decomposition(old.save(tmp_path / "old.parquet"))
    assert again.firing_rate is None
    assert again.tests is None
    np.testing.assert_array_equal(again.coefficients, found.coefficients)


def test_sparse_text_means_on_disk_give_the_same(monkeypatch):
    planted = plant(noise=0.3, repeats=2)
    base = run(planted).frame()
    monkeypatch.setattr(text_means, "TEXT_BUDGET", 64)
    monkeypatch.setattr(text_means.TextMeansWriter.__init__, "__defaults__", (64,))
    mapped = run(planted).frame()
    np.testing.assert_array_equal(mapped["auroc"], base["auroc"])
    writer = text_means.TextMeansWriter(8)
    writer.add(np.array([[0.0, 1.0, 2.0], [0.0, 0.0, 0.0]], dtype=np.float32), np.array([0, 1]))
    writer.add(np.array([[3.0, 0.0, 4.0]], dtype=np.float32), np.array([0]))
    found = writer.finish()
    assert isinstance(found.values, np.memmap)
    np.testing.assert_array_equal(found.columns([2, 0]), [[2, 0], [0, 0], [4, 3]])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weights": "group"}, "did you mean 'groups'"),
        ({"dense": "filter"}, "there are keep and drop"),
        ({"permutations": -1}, "permutations must be 0 or more"),
    ],
)
def test_impossible_choices_of_the_contrast_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        run(plant(), contrast=options)
