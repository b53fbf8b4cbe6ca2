"""Geometry and logit lens: planted maps, planted tokens."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from directions_planted import SITES, store

from emovec_sae.corpora import load_emotions, load_norms
from emovec_sae.directions import DirectionSet, fit_directions, logit_lens, word_ranks
from emovec_sae.directions.geometry import clustered_order
from emovec_sae.directions.maps import map_trust, mapped
from emovec_sae.errors import ConfigError, MismatchError


def rated_set(*, n: int = 60, d: int = 24, noise: float = 0.3, seed: int = 0) -> DirectionSet:
    """Directions of packaged emotions: one axis carries valence, another arousal."""
    random = np.random.default_rng(seed)
    norms = load_norms().iloc[:n]
    axes = np.linalg.qr(random.normal(size=(d, 2)))[0].T
    scaled = (norms[["valence", "arousal"]] - 5).to_numpy() * [2.0, 1.0]
    rows = np.repeat(np.arange(n), 2)
    values = scaled[rows] @ axes + noise * random.normal(size=(n, d))[rows] + 10
    frame = pd.DataFrame(
        {
            "id": [f"t{i}" for i in range(2 * n)],
            "text": [f"text number {i}" for i in range(2 * n)],
            "emotion": norms["emotion"].to_numpy()[rows],
            "group": ["g0", "g1"] * n,
        }
    )
    return fit_directions(store(frame, {SITES[1]: values.astype(np.float32)}), site="auto")


def test_planted_valence_and_arousal_are_found() -> None:
    found = rated_set().geometry()
    ridge = found.ridge.set_index("rating")
    assert ridge.loc["valence", "r"] > 0.8
    assert (ridge["low"] < ridge["r"]).all()
    assert (ridge["r"] < ridge["high"]).all()
    assert ridge["n"].tolist() == [60, 60]
    table = found.correlations
    first = table[(table["component"] == "PC1") & (table["rating"] == "valence")].iloc[0]
    assert first["r"] > 0.8
    assert len(table) == 10


def test_ratings_that_mean_nothing_are_not_read() -> None:
    shuffled = load_norms()
    order = np.random.default_rng(1).permutation(len(shuffled))
    shuffled[["valence", "arousal"]] = shuffled[["valence", "arousal"]].to_numpy()[order]
    found = rated_set().geometry(shuffled)
    assert found.ridge["r"].max() < 0.3  # out of fold, meaningless ratings lean below 0, not above


def test_components_are_turned_towards_their_stronger_rating_and_agree_with_numpy() -> None:
    directions = rated_set()
    found = directions.geometry()
    strongest = found.correlations.assign(size=lambda t: t["r"].abs()).sort_values("size").groupby("component").last()
    assert (strongest["r"] > 0).all()
    units = directions.units.astype(float)
    values = np.linalg.svd(units - units.mean(axis=0), compute_uv=False) ** 2
    np.testing.assert_allclose(found.explained, (values / values.sum())[:5], rtol=1e-6)
    valence = found.about["valence"]
    r = np.corrcoef(found.coordinates[:, 0], valence)[0, 1]
    assert found.correlations.iloc[0]["r"] == pytest.approx(r)
    assert found.correlations.iloc[0]["low"] <= r <= found.correlations.iloc[0]["high"]


def test_frames_of_the_charts() -> None:
    directions = rated_set(n=20)
    found = directions.geometry()
    names = ["emotion", "pc1", "pc2", "valence", "arousal", "family", "core"]
    names += ["explained1", "explained2", "site", "n_texts"]
    table = found.frame()
    assert list(table.columns) == names
    assert table["emotion"].tolist() == list(directions.emotions)
    assert table["core"].dtype == bool
    assert table.loc[table["core"], "emotion"].tolist() == sorted(set(load_emotions().core) & set(directions.emotions))
    pairs = found.similarity_frame()
    assert list(pairs.columns) == ["emotion_a", "emotion_b", "cosine", "order_a", "order_b"]
    assert len(pairs) == 400
    places = pairs.drop_duplicates("emotion_a").set_index("emotion_a")["order_a"]
    assert sorted(places) == list(range(20))
    row = pairs.sample(1, random_state=0).iloc[0]
    wanted = directions[row["emotion_a"]].unit @ directions[row["emotion_b"]].unit
    assert row["cosine"] == pytest.approx(float(wanted), abs=1e-6)
    few = found.similarity_frame(emotions=list(directions.emotions[:4]))
    assert sorted(set(few["order_a"])) == [0, 1, 2, 3]
    with pytest.raises(ConfigError, match="did you mean 'afraid'"):
        found.similarity_frame(emotions=["afriad", "alert"])
    assert "afraid" in json.dumps(found.plot().to_dict())
    assert "afraid" in json.dumps(found.plot_similarity().to_dict())


def test_clusters_stand_together() -> None:
    random = np.random.default_rng(0)
    centres = np.eye(3)[np.tile([0, 1, 2], 5)] + 0.05 * random.normal(size=(15, 3))
    units = centres / np.linalg.norm(centres, axis=1, keepdims=True)
    order = clustered_order(units @ units.T)
    assert (np.diff(np.tile([0, 1, 2], 5)[order]) != 0).sum() == 2


def test_emotions_without_ratings_stay_on_the_map() -> None:
    few = load_norms().iloc[:5]
    found = rated_set(n=20).geometry(few)
    assert found.ridge.empty
    assert found.correlations["r"].isna().all()
    assert found.frame()["valence"].notna().sum() == 5


def test_ratings_must_be_whole() -> None:
    directions = rated_set(n=12)
    with pytest.raises(ConfigError, match="lack the column 'arousal'"):
        directions.geometry(load_norms().drop(columns="arousal"))
    with pytest.raises(ConfigError, match="more than once"):
        directions.geometry(pd.concat([load_norms(), load_norms()]))


def test_geometry_is_written_and_reproducible(tmp_path) -> None:
    directions = rated_set(n=20)
    one, two = directions.geometry(seed=1), directions.geometry(seed=1)
    assert one.ridge.equals(two.ridge)
    told = json.loads(one.save(tmp_path / "geometry.json").read_text())
    assert [row["rating"] for row in told["ridge"]] == ["valence", "arousal"]


def strings(ids) -> list[str]:
    return [f"<{one}>" for one in ids]


def test_planted_tokens_are_on_top() -> None:
    directions = rated_set(n=12)
    table = torch.randn(50, 24, generator=torch.Generator().manual_seed(0)) * 0.1
    for row in range(12):
        table[3 * row] = 5 * torch.tensor(directions.units[row])
    found = logit_lens(directions, table, strings, k=3)
    top = found[found["rank"] == 1]
    assert top["token"].tolist() == [f"<{3 * row}>" for row in range(12)]
    wanted = np.sort(directions.units @ table.numpy().T, axis=1)[:, ::-1][:, :3]
    np.testing.assert_allclose(found["score"].to_numpy().reshape(12, 3), wanted, rtol=1e-4, atol=1e-5)
    assert found["rank"].tolist() == [1, 2, 3] * 12
    ranks = word_ranks(directions, table, {"afraid": [7, 0], "alert": [], "amused": [1]})
    assert ranks["emotion"].tolist() == ["afraid", "amused"]
    assert ranks.loc[0, ["rank", "token_id", "n", "vocabulary"]].tolist() == [1, 0, 2, 50]
    row = directions.units[directions.index("amused")] @ table.numpy().T
    assert ranks.loc[1, "rank"] == 1 + (row > row[1]).sum()


def test_an_unembedding_of_another_model_is_refused() -> None:
    directions = rated_set(n=12)
    with pytest.raises(MismatchError, match="24 dimensions"):
        logit_lens(directions, torch.zeros(50, 23), strings)
    with pytest.raises(ConfigError, match="k is 51"):
        logit_lens(directions, torch.zeros(50, 24), strings, k=51)
    with pytest.raises(ConfigError, match=r"token 50 of 'afraid'"):
        word_ranks(directions, torch.zeros(50, 24), {"afraid": [50]})


@pytest.mark.parametrize(("method", "name"), [("umap", "UMAP"), ("pacmap", "PaCMAP")])
def test_a_map_keeps_neighbours_together_and_repeats_itself(method: str, name: str) -> None:
    geometry = rated_set(n=40, noise=0.1).geometry()
    first = mapped(geometry, method, seed=1)
    assert map_trust(geometry, first) > 0.75
    assert first[["explained1", "explained2"]].isna().all().all()
    np.testing.assert_array_equal(first["pc1"], mapped(geometry, method, seed=1)["pc1"])
    assert name in geometry.plot(method=["pca", method]).to_json()


def test_an_unknown_map_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown map 'tsne'"):
        rated_set(n=20).geometry().plot(method="tsne")
