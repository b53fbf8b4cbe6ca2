"""Reading latents: the passages where they peak, and the tokens that their rows raise."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from memory_store import SITE, plant, planted_coder

from emovec_sae.decomposition.labels import neuronpedia_link, read_labels
from emovec_sae.decomposition.latent_tokens import decoder_tokens
from emovec_sae.decomposition.reading import read_latents
from emovec_sae.errors import ConfigError, MismatchError
from emovec_sae.provenance import read_json
from emovec_sae.sites import Site


def words(ids):
    return [f" t{token}" for token in ids]


@pytest.fixture
def planted():
    return plant(repeats=2)


def test_passages_are_the_strongest_texts_by_a_plain_search(planted):
    read = read_latents(
        planted_coder(planted), planted.store[SITE], [3, 0, 3], detokenize=words, passages=4, window=100
    )
    assert read.latents == (0, 3)
    pooled = [np.zeros(0, bool)] * len(planted.latents)
    for chunk in planted.store.tokens(SITE):
        for row in np.unique(chunk.text):
            pooled[row] = chunk.pooled[chunk.text == row]
    assert not all(one.all() for one in pooled)  # tokens before the offset are there, and must not count
    active = [text * kept[:, None] for text, kept in zip(planted.latents, pooled, strict=True)]
    for latent in read.latents:
        peaks = np.array([text[:, latent].max() for text in active])
        order = np.argsort(-peaks)[:4]
        assert [p.id for p in read.of(latent)] == list(planted.store.frame["id"].iloc[order])
        for passage, row in zip(read.of(latent), order, strict=True):
            assert passage.peak == pytest.approx(peaks[row], rel=1e-4)
            np.testing.assert_allclose(passage.activations, active[row][:, latent], atol=1e-4)
            assert passage.tokens == tuple(words(np.arange(len(passage.activations)) % 7))
            assert (passage.emotion, passage.group) == tuple(planted.store.frame.loc[row, ["emotion", "group"]])
    rates = (np.concatenate(active) > 0)[np.concatenate(pooled)].mean(0)[[0, 3]]
    np.testing.assert_allclose(read.firing_rate, rates, atol=1e-12)
    assert read.n_tokens == sum(map(np.sum, pooled))


def test_a_window_keeps_the_peak_in_view(planted):
    read = read_latents(planted_coder(planted), planted.store[SITE], [5], detokenize=words, passages=50, window=2)
    assert 1 <= len(read.passages) <= len(planted.store)
    for passage in read.passages:
        assert 3 <= len(passage.tokens) <= 5
        assert max(passage.activations) == pytest.approx(passage.peak)


def test_small_chunks_give_the_same(planted, monkeypatch):
    coder = planted_coder(planted)
    whole = read_latents(coder, planted.store[SITE], [1, 2], detokenize=words)
    monkeypatch.setattr(type(coder), "rows_at_once", lambda self, budget=0: 3)
    straight = type(planted.store).tokens
    monkeypatch.setattr(type(planted.store), "tokens", lambda self, site, chunk=0: straight(self, site, chunk=15))
    parts = read_latents(coder, planted.store[SITE], [1, 2], detokenize=words)
    assert [p.id for p in parts.passages] == [p.id for p in whole.passages]


def test_a_latent_that_never_fires_has_no_passage(planted):
    for text, latents in zip(planted.store.texts, planted.latents, strict=True):
        text -= np.outer(latents[:, 4], planted.directions[4]).astype(np.float32)
    read = read_latents(planted_coder(planted), planted.store[SITE], [4, 1], detokenize=words)
    assert read.of(4) == []
    assert read.firing_rate[1] == 0
    assert len(read.of(1)) == 8


def test_frame_and_file_hold_the_same(planted, tmp_path):
    read = read_latents(planted_coder(planted), planted.store[SITE], [0, 1], detokenize=words, passages=2)
    table = read.frame()
    assert list(table["rank"]) == [1, 2, 1, 2]
    saved = read_json(read.save(tmp_path / "read.json"))
    assert [entry["latent"] for entry in saved["latents"]] == [0, 1]
    assert saved["latents"][1]["passages"][0]["id"] == table["id"][2]
    pieces = saved["latents"][0]["passages"][0]["pieces"]
    assert "".join(piece["token"] for piece in pieces) == table["passage"][0]


@pytest.mark.parametrize("latents", [[], [-1], [16]])
def test_latents_that_do_not_exist_are_refused(planted, latents):
    with pytest.raises(ConfigError, match="some of 0 to 15"):
        read_latents(planted_coder(planted), planted.store[SITE], latents, detokenize=words)


def test_another_site_is_refused(planted):
    with pytest.raises(MismatchError, match=r"reads resid_post\.1"):
        read_latents(planted_coder(planted, site=Site("resid_post", 1)), planted.store[SITE], [0], detokenize=words)


def test_decoder_tokens_are_the_ends_of_the_logits():
    rng = np.random.default_rng(0)
    rows, unembedding = rng.standard_normal((2, 6)), rng.standard_normal((30, 6)).astype(np.float32)
    table = decoder_tokens(rows, unembedding, words, top=3, ids=[7, 9])
    logits = rows @ unembedding.T
    for place, latent in enumerate((7, 9)):
        for side, order in (("up", np.argsort(-logits[place])), ("down", np.argsort(logits[place]))):
            own = table[(table["latent"] == latent) & (table["side"] == side)]
            assert list(own["token_id"]) == order[:3].tolist()
            np.testing.assert_allclose(own["logit"], logits[place, order[:3]], rtol=1e-4)
            assert list(own["token"]) == words(order[:3])
    assert len(decoder_tokens(torch.ones(1, 6), torch.ones(2, 6, dtype=torch.bfloat16), words, top=9)) == 4
    with pytest.raises(MismatchError, match="6 wide, the unembedding 5"):
        decoder_tokens(rows, unembedding[:, :5], words)


def test_the_emotions_that_a_latent_tells_apart():
    """Latent 0 is raised by e0, 9 lowered by e1; group latents and noise tell nothing."""
    planted = plant(repeats=3)
    read = read_latents(planted_coder(planted), planted.store[SITE], [0, 9, 5, 6], detokenize=words)
    means = np.stack([text[planted.store.offset :].mean(0) for text in planted.latents])
    emotion = planted.store.frame["emotion"].to_numpy()
    from sklearn.metrics import roc_auc_score

    for row in read.telling.to_dict("records"):
        expected = roc_auc_score(emotion == row["emotion"], means[:, row["latent"]])
        assert row["auroc"] == pytest.approx(expected, abs=0.005)  # float32 may swap near ties
        assert row["low"] <= row["auroc"] <= row["high"]
    first = read.telling[read.telling["rank"] == 1].set_index("latent")
    assert (first.loc[0, "emotion"], first.loc[0, "auroc"]) == ("e0", 1.0)
    assert (first.loc[9, "emotion"], first.loc[9, "auroc"] < 0.1) == ("e1", True)
    assert first.loc[0, "p"] == pytest.approx(1 / 201)
    assert first.loc[0, "auroc"] > first.loc[0, "null_high"]
    assert first.loc[5, "p"] > 0.05
    assert first.loc[6, "p"] > 0.05
    assert read.plot().to_dict()["vconcat"]


def test_labels_links_and_cards(planted, tmp_path):
    coder = planted_coder(planted)
    assert neuronpedia_link(coder, 3) is None
    coder.sae.cfg.metadata.neuronpedia_id = "gpt2-small/6-res-jb"
    unembedding = np.random.default_rng(0).standard_normal((30, 24)).astype(np.float32)
    options = {"detokenize": words, "unembedding": unembedding, "labels": {3: "dread", 99: "not asked"}}
    read = read_latents(coder, planted.store[SITE], [3, 1], **options)
    card = read.card(3)
    assert card["link"] == "https://www.neuronpedia.org/gpt2-small/6-res-jb/3"
    assert card["label"] == "dread"
    assert read.labels == {3: "dread"}
    logits = planted.directions[3] @ unembedding.T
    assert card["tokens"]["up"] == words(np.argsort(-logits)[:10])
    assert "dread" in read.text()
    assert "[ t" in read.text()
    saved = read_json(read.save(tmp_path / "read.json"))
    assert saved["latents"][1]["label"] == "dread"


def test_files_of_labels(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"3": "dread"}))
    (tmp_path / "b.json").write_text(json.dumps([{"index": "3", "description": "dread"}]))
    (tmp_path / "c.csv").write_text("latent,label\n3,dread\n4,\n")
    for name in ("a.json", "b.json", "c.csv"):
        assert read_labels(tmp_path / name) == {3: "dread"}
    (tmp_path / "d.json").write_text("[1, 2]")
    for name in ("d.json", "none.json"):
        with pytest.raises(ConfigError, match="labels"):
            read_labels(tmp_path / name)


def test_texts_without_emotions_have_passages_all_the_same(planted):
    planted.store.frame["emotion"] = None
    read = read_latents(planted_coder(planted), planted.store[SITE], [0], detokenize=words)
    assert len(read.telling) == 0
    assert read.of(0)
    assert read.card(0)["emotions"] == []
