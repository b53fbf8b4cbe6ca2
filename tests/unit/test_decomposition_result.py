"""The result: its parts and sums, pursuit through the same face, its charts' tables, and its files."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pandas as pd
import pytest
from memory_store import SITE, plant, planted_coder

from emovec_sae.charts.latents_by_emotion import latents_by_emotion
from emovec_sae.decomposition.api import decompose
from emovec_sae.decomposition.files import load_decomposition
from emovec_sae.decomposition.null_tables import COLUMNS
from emovec_sae.decomposition.nulls import NULLS, against_nulls
from emovec_sae.decomposition.pursuits import PURSUITS
from emovec_sae.directions.estimators import DiffMean
from emovec_sae.directions.fit import fit_directions
from emovec_sae.errors import ConfigError, StoreError


@pytest.fixture(scope="module", params=["contrast", *PURSUITS])
def found(request):
    return run(request.param)


@pytest.fixture(scope="module", params=["contrast", "omp"])
def either(request):
    """Where the method does not matter."""
    return run(request.param)


@cache
def run(method, nulls=12):
    planted = plant(noise=0.3, emotions=4, groups=5)
    vectors = fit_directions(planted.store, site=str(SITE))
    return decompose(vectors, planted_coder(planted), planted.store, method=method, k=6, nulls=nulls)


def test_partial_sums_are_what_the_curve_says(found):
    for emotion in found:
        v = found.vectors[found.row(emotion)]
        for size in (1, 4, 6):
            part = found.vector(emotion, size)
            row = found.curve.query("emotion == @emotion and k == @size").iloc[0]
            assert row["cosine"] == pytest.approx(part @ v / np.linalg.norm(part) / np.linalg.norm(v), abs=1e-4)
            assert row["r2"] == pytest.approx(1 - ((v - part) ** 2).sum() / (v @ v), abs=1e-4)
            assert row["share"] == pytest.approx(part @ v / (v @ v), abs=1e-4)
        own = found.ranks[found.ranks["emotion"] == emotion]
        assert own["share"].sum() == pytest.approx(row["share"], abs=1e-4)
        assert list(own["rank"]) == [1, 2, 3, 4, 5, 6]


def test_coefficients_stand_on_unit_rows(found):
    np.testing.assert_allclose(np.linalg.norm(found.rows, axis=1), 1, atol=1e-5)
    latents, coefficients = found.latents("e1")
    table = found.coefficients[1, np.searchsorted(found.index, latents)]
    np.testing.assert_allclose(table, coefficients, rtol=1e-5)
    np.testing.assert_allclose(found.decoder_rows(latents).T @ coefficients, found.vector("e1"), atol=1e-5)


def test_what_is_not_there_is_named(found):
    with pytest.raises(ConfigError, match="'e9' was not decomposed"):
        found.latents("e9")
    for k in (0, 7):
        with pytest.raises(ConfigError, match="1 to 6 latents"):
            found.latents("e0", k)
    with pytest.raises(ConfigError, match="only the latents"):
        found.decoder_rows([17])


def test_frames_have_the_promised_columns(found):
    assert {
        "emotion",
        "rank",
        "latent",
        "coefficient",
        "share",
        "low",
        "high",
        "decoder_cosine",
        "firing_rate",
        "dense",
    } <= set(found.frame().columns)
    assert {
        "emotion",
        "error_share",
        "identity_error",
        "r2_k",
        "cosine_k",
        "null_mean",
        "null_low",
        "null_high",
        "n_texts",
    } <= set(found.summary.columns)
    assert list(found.curve.columns[:5]) == ["emotion", "k", "cosine", "r2", "share"]
    nulls = found.nulls()
    assert list(nulls.columns) == COLUMNS
    wanted = set(NULLS.values()) - (set() if found.method == "contrast" else {"shuffled rows"})
    assert set(nulls["null"]) == wanted
    assert (nulls["null_low"] <= nulls["null_mean"] + 1e-12).all()
    assert (nulls["null_mean"] <= nulls["null_high"] + 1e-12).all()
    np.testing.assert_allclose(nulls["excess"], nulls["value"] - nulls["null_mean"])
    assert (nulls["excess_low"] <= nulls["excess"] + 1e-12).all()
    # Twelve draws of each null, of rotations three times four emotions
    assert nulls["p"].min() >= 1 / 13 - 1e-12
    frame = found.frame()
    frame["share"] = 0
    assert found.ranks["share"].abs().sum() > 0


def test_charts_are_drawn_from_tables_that_add_up(either):
    table = either.composition("e2", labels={int(either.latents("e2")[0][0]): "two words"})
    assert table["share"].sum() == pytest.approx(1, abs=1e-4)
    assert table["label"].str.endswith("two words").sum() == 1
    assert list(table["kind"].tail(2)) == ["other latents", "error"]
    assert either.plot_curves().to_dict()
    assert either.plot_curves("r2", emotion="e1").to_dict()
    with pytest.raises(ConfigError, match="no curve of 'cosin' \\(did you mean 'cosine'"):
        either.plot_curves("cosin")
    fewer = either.composition("e2", k=2)
    assert fewer["share"].sum() == pytest.approx(1, abs=1e-4)
    assert (fewer["kind"] == "latent").sum() == 2
    assert "vconcat" in either.plot("e2").to_dict()
    heat = either.by_latent(n=5)
    assert len(heat) == 20
    assert sorted(heat["emotion_order"].unique()) == [0, 1, 2, 3]
    assert latents_by_emotion(heat).to_dict()
    assert "4 emotions" in repr(either)
    facts = json.loads(json.dumps(either.facts()))
    assert facts["error_share"] == pytest.approx(either.summary["error_share"].mean())


def test_it_comes_back_from_its_files(either, tmp_path):
    path = either.save(tmp_path / "parts.parquet")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["parts.json", "parts.parquet", "parts.safetensors"]
    again = load_decomposition(path)
    pd.testing.assert_frame_equal(again.ranks, either.ranks)
    pd.testing.assert_frame_equal(again.summary, either.summary)
    pd.testing.assert_frame_equal(again.curves, either.curves)
    for name in ("index", "rows", "coefficients", "vectors", "removed"):
        np.testing.assert_array_equal(getattr(again, name), getattr(either, name))
    assert (again.method, again.k, again.emotions, again.site) == (
        either.method,
        either.k,
        either.emotions,
        either.site,
    )
    assert again.provenance == json.loads(json.dumps(either.provenance))
    np.testing.assert_array_equal(again.vector("e1", 4), either.vector("e1", 4))
    with pytest.raises(ConfigError, match="not overwritten"):
        either.save(path)
    either.save(path, overwrite=True)


@pytest.mark.parametrize("suffix", [".parquet", ".safetensors", ".json"])
@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_damaged_files_are_noticed(either, tmp_path, suffix, damage):
    path = either.save(tmp_path / "parts.parquet")
    file = path.with_suffix(suffix)
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(StoreError, match="parts"):
        load_decomposition(path)


def test_files_of_another_run_or_version_are_noticed(either, tmp_path):
    path = either.save(tmp_path / "parts.parquet")
    either.ranks.assign(share=0.0).to_parquet(path)
    with pytest.raises(StoreError, match="does not fit its sidecar"):
        load_decomposition(path)
    sidecar = path.with_suffix(".json")
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"encoding-version": "9"}))
    with pytest.raises(StoreError, match="version 9"):
        load_decomposition(path)
    with pytest.raises(ConfigError, match=r"ends in \.parquet"):
        either.save(tmp_path / "parts.csv")


def test_pursuit_without_activations_knows_no_firing_rates():
    planted = plant()
    vectors = fit_directions(planted.store, site=str(SITE))
    found = decompose(vectors, planted_coder(planted), method="omp", k=3, nulls=0)
    assert found.frame()["firing_rate"].isna().all()
    assert found.frame()["dense"].isna().all()
    assert found.facts()["identity_error"] is None
    assert found.facts()["null"] is None
    # Latents that may be dense but are not known to be stay in.
    assert len(found.latents("e0", dense=False)[0]) == 3


def test_excess_over_emotions_and_the_answer_of_the_command_line(found):
    table = found.excess().query("k == 6")
    own = found.nulls().query("k == 6 and quantity == 'r2' and null == 'random target'")
    row = table.query("quantity == 'r2' and null == 'random target'").iloc[0]
    assert row["excess"] == pytest.approx(own["excess"].mean())
    assert row["excess_low"] < row["excess"] < row["excess_high"]
    assert row["n"] == 4
    told = json.loads(json.dumps(found.facts()))
    assert {"method", "k", "error_share", "identity_error", "r2", "cosine", "count", "null"} <= set(told)
    assert set(told["null"]) == set(found.nulls()["null"])
    assert told["null"]["random target"]["r2"]["excess"]["value"] == pytest.approx(row["excess"])
    assert told["r2"]["value"] == pytest.approx(found.summary["r2_k"].mean())


def test_a_value_is_held_against_the_hardest_null():
    draws = {"null": np.linspace(0, 0.2, 21), "permuted": np.linspace(0.4, 0.6, 21)}
    told = against_nulls(0.55, draws, quantity="cosine")
    assert told["hardest"] == "permuted labels"
    assert told["excess"] == pytest.approx(0.05)
    assert told["excess_low"] == pytest.approx(0.55 - 0.595)
    assert told["excess_high"] == pytest.approx(0.55 - 0.405)
    assert told["null_p"] == pytest.approx(1 / 22)
    assert told["permuted_p"] == pytest.approx(7 / 22)  # 0.55 to 0.60 in steps of 0.01
    assert np.isnan(told["covariance_mean"])
    few = against_nulls(3.0, {"null": np.array([5.0, 6.0]), "permuted": np.array([9.0])}, quantity="count")
    assert few["hardest"] == "random target", "of a count the smallest is the hardest to beat"
    assert few["null_p"] == pytest.approx(1 / 3)
    none = against_nulls(1.0, {}, quantity="r2")
    assert none["hardest"] == ""
    assert np.isnan(none["excess"])


def test_nulls_that_cannot_be_drawn_are_said():
    planted = plant()
    vectors = fit_directions(planted.store, site=str(SITE))
    found = decompose(vectors, planted_coder(planted), method="omp", k=3, nulls=4)
    assert set(found.nulls()["null"]) == {"random target", "rotated dictionary"}
    missing = found.provenance["settings"]["nulls_not_drawn"]
    assert missing["permuted labels"] == missing["covariance target"] == "no activations were given"
    against = fit_directions(planted.store, site=str(SITE), estimator=DiffMean(planted.store.pooled(SITE)))
    found = decompose(against, planted_coder(planted), planted.store, method="omp", k=3, nulls=4)
    assert "against texts" in found.provenance["settings"]["nulls_not_drawn"]["permuted labels"]


def test_pooled_values_will_do_for_the_nulls_of_a_pursuit():
    planted = plant()
    vectors, coder = fit_directions(planted.store, site=str(SITE)), planted_coder(planted)
    whole = decompose(vectors, coder, planted.store, method="omp", k=3, nulls=4)
    planted.store.pools = ("mean",)
    pooled = decompose(vectors, coder, planted.store, method="omp", k=3, nulls=4)
    pd.testing.assert_frame_equal(pooled.nulls(), whole.nulls())
    assert whole.frame()["firing_rate"].notna().all()
    assert pooled.frame()["firing_rate"].isna().all()


def test_pursuit_finds_the_latents_of_a_planted_vector():
    planted = plant(emotions=3, groups=8, repeats=3)
    vectors = fit_directions(planted.store, site=str(SITE))
    found = decompose(vectors, planted_coder(planted), method="omp", k=10, nulls=20)
    assert (found.summary["r2_k"] > 0.98).all()
    assert (found.summary["cosine_k"] > found.summary["null_high"]).all()
    for e, emotion in enumerate(found):
        assert e in found.latents(emotion, 2)[0]
