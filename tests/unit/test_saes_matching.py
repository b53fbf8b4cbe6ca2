"""Latents matched across SAEs: a known permutation with replaced atoms, widths that differ, and what chance gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from memory_store import SITE, MemoryStore, planted_coder
from memory_store import Planted as PlantedStore

from emovec_sae.errors import ConfigError, MismatchError, StoreError
from emovec_sae.provenance import read_json
from emovec_sae.saes import comoments, matching
from emovec_sae.saes.assign import assign
from emovec_sae.saes.matching import match_latents
from emovec_sae.sites import Site

D, WIDTH, REPLACED = 48, 40, 10


def planted(seed=0, texts=30, tokens=40):
    """Sparse codes on 40 orthonormal rows of 48: each fires on a tenth of the tokens."""
    rng = np.random.default_rng(seed)
    rows = np.linalg.qr(rng.standard_normal((D, D)))[0][:WIDTH]
    latents = [np.where(rng.random((tokens, WIDTH)) < 0.1, 1 + rng.random((tokens, WIDTH)), 0) for _ in range(texts)]
    frame = pd.DataFrame({"id": [f"t{i}" for i in range(texts)], "n_tokens": tokens, "text": "x"})
    frame = frame.assign(emotion=[f"e{i % 3}" for i in range(texts)], group=[f"g{i % 5}" for i in range(texts)])
    store = MemoryStore([f @ rows for f in latents], frame)
    return PlantedStore(store, latents, rows, np.zeros(D), np.ones(WIDTH))


def second_of(first, *, width=WIDTH, seed=1):
    """The same dictionary permuted, the first `REPLACED` of its places given to rows outside of the first's span."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(WIDTH)[:width]
    rows = first.directions[order].copy()
    rest = np.linalg.svd(first.directions)[2][WIDTH:]
    rows[:REPLACED] = np.linalg.qr(rng.standard_normal((len(rest), len(rest))))[0][rng.integers(0, 8, REPLACED)] @ rest
    return order, PlantedStore(first.store, [], rows, np.zeros(D), np.ones(len(rows)))


@pytest.fixture(scope="module")
def two():
    first = planted()
    order, other = second_of(first)
    # what the replaced rows read must be there, so that they fire: noise of their own in each token
    rng = np.random.default_rng(5)
    for text in first.store.texts:
        text += (0.3 * rng.random((len(text), 1)) * other.directions[:REPLACED].sum(0)).astype(np.float32)
    return order, planted_coder(first), planted_coder(other), first.store


def test_the_permutation_is_found_and_replaced_latents_are_not(two):
    order, first, second, store = two
    found = match_latents(first, second, store)
    truth = {int(latent): place for place, latent in enumerate(order) if place >= REPLACED}
    pairs = found.frame().set_index("latent")
    assert len(truth) == WIDTH - REPLACED
    for latent, place in truth.items():
        assert pairs.loc[latent, "by_cosine"] == pairs.loc[latent, "by_correlation"] == place
        assert pairs.loc[latent, "cosine"] == pytest.approx(1, abs=1e-5)
        assert pairs.loc[latent, "correlation"] == pytest.approx(1, abs=1e-3)
        assert found.partner(latent, least=0.9) == place
    for latent in set(range(WIDTH)) - set(truth):
        assert abs(pairs.loc[latent, "cosine"]) < 1e-5
        assert found.partner(latent, least=0.5) is None
        assert found.partner(latent, by="correlation", least=0.5) is None
    shares = found.shares((0.7,)).set_index("kind")
    assert shares["value"].tolist() == pytest.approx([0.75, 0.75])
    assert shares["null"].tolist() == [0.0, 0.0]
    assert (shares["low"] < 0.75).all()
    assert (shares["high"] > 0.75).all()


def test_correlations_equal_those_of_numpy(two):
    _, first, second, store = two
    found = match_latents(first, second, store, draws=0).frame()
    pooled = np.concatenate([chunk.values[chunk.pooled] for chunk in store.tokens(SITE)])
    f, g = (coder.encode(pooled).numpy().astype(float) for coder in (first, second))
    table = np.corrcoef(f.T, g.T)[:WIDTH, WIDTH:]
    for row in found.to_dict("records"):
        if row["by_cosine"] >= 0:
            assert row["correlation"] == pytest.approx(table[row["latent"], row["by_cosine"]], abs=1e-4)
        assert row["fires"] == pytest.approx((f[:, row["latent"]] > 0).mean())


def test_few_candidates_give_the_same_matches(two, monkeypatch):
    order, first, second, store = two
    whole = match_latents(first, second, store, draws=1)
    monkeypatch.setattr(matching, "CELLS", 0)
    few = match_latents(first, second, store, draws=1)
    truth = [latent for place, latent in enumerate(order) if place >= REPLACED]
    for name in ("by_cosine", "by_correlation", "correlation"):
        one, other = (found.frame().set_index("latent").loc[truth, name] for found in (whole, few))
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert few.provenance["pairs"] == "16 nearest rows"


def test_widths_may_differ(two):
    _, first, _, store = two
    order, narrow = second_of(planted(), width=25)
    found = match_latents(first, planted_coder(narrow), store)
    pairs = found.frame().set_index("latent")
    assert (pairs["by_cosine"] >= 0).sum() == found.live[1]
    for place in range(REPLACED, 25):
        assert pairs.loc[order[place], "by_cosine"] == place
    assert found.pairs["by_cosine"][found.pairs["by_cosine"] >= 0].is_unique


def test_an_unrelated_dictionary_matches_as_chance_does():
    first, other = planted(), planted(seed=9)
    found = match_latents(planted_coder(first), planted_coder(other), first.store, draws=4)
    shares = found.shares((0.3,)).set_index("kind")
    assert abs(shares.loc["cosine", "value"] - shares.loc["cosine", "null"]) < 0.2
    assert found.pairs["cosine"].max() < 0.7


@pytest.mark.parametrize("exact", [0, 2**22])
def test_assignment_is_one_to_one(monkeypatch, exact):
    monkeypatch.setattr("emovec_sae.saes.assign.EXACT", exact)
    rng = np.random.default_rng(0)
    order = rng.permutation(30)
    table = 0.3 * rng.random((30, 30))
    table[np.arange(30), order] += 1
    np.testing.assert_array_equal(assign(table), order)
    wide = assign(rng.random((12, 5)))
    assert (wide >= 0).sum() == 5
    assert len(set(wide[wide >= 0])) == 5


def test_drawn_saved_and_refused(two, tmp_path):
    _, first, second, store = two
    found = match_latents(first, second, store)
    assert found.plot().to_dict()["layer"]
    saved = read_json(found.save(tmp_path / "m.json"))
    assert len(saved["pairs"]) == found.live[0] == WIDTH
    assert saved["shares"][0]["kind"] == "cosine"
    assert "above 0.7 75% by cosine" in repr(found)
    with pytest.raises(ConfigError, match="not by 'name'"):
        found.partner(0, by="name")
    elsewhere = planted_coder(planted(), site=Site("resid_post", 1))
    with pytest.raises(MismatchError, match=r"reads resid_post\.1"):
        match_latents(first, elsewhere, store)
    second.sae.threshold.data += torch.tensor(1e6)
    with pytest.raises(StoreError, match="fire any latent"):
        match_latents(first, second, store)
    second.sae.threshold.data -= torch.tensor(1e6)


def test_moments_hold_what_is_summed(two):
    _, first, second, store = two
    one, _, n_tokens = comoments.moments(first, second, store[SITE])
    pooled = np.concatenate([chunk.values[chunk.pooled] for chunk in store.tokens(SITE)])
    f = first.encode(pooled).numpy().astype(float)
    assert n_tokens == len(pooled)
    np.testing.assert_allclose(one.total, f.sum(0), rtol=1e-5)
    np.testing.assert_allclose(one.squares, np.square(f).sum(0), rtol=1e-5)
    np.testing.assert_array_equal(one.fired, (f != 0).sum(0))
