"""The passport against plain sums, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from memory_store import SITE, MemoryStore, plant, planted_coder

from emovec_sae.errors import MismatchError, UnfitError
from emovec_sae.provenance import read_json
from emovec_sae.saes.passport import passport
from emovec_sae.sites import Site


@pytest.fixture
def planted():
    return plant(noise=0.4, repeats=3)


def naive(coder, values):
    x = torch.from_numpy(values)
    f = coder.encode(x)
    left = (x - coder.decode(f)).double()
    ev = 1 - left.square().sum() / (x - x.mean(0)).double().square().sum()
    fires = (f != 0).double().mean(0)
    return (
        float(ev),
        float((f != 0).double().sum(1).mean()),
        float((fires == 0).double().mean()),
        float((fires > 0.1).double().mean()),
    )


def test_the_numbers_are_plain_sums_over_tokens(planted):
    coder, values = planted_coder(planted), np.concatenate(planted.store.texts)
    found = passport(coder, planted.store)
    ev, l0, dead, dense = naive(coder, values)
    assert found.explained_variance.value == pytest.approx(ev, abs=1e-6)
    assert found.l0.value == pytest.approx(l0)
    assert (found.dead_share, found.dense_share) == (dead, dense)
    assert (found.n_tokens, found.n_texts, found.n_sinks) == (len(values), len(planted.store), 0)
    assert found.explained_variance.low < ev < found.explained_variance.high < 1
    assert passport(coder, planted.store[SITE]).explained_variance == found.explained_variance


def test_sinks_are_left_out_and_counted(planted):
    coder, plain = planted_coder(planted), passport(planted_coder(planted), planted.store)
    texts = [text.copy() for text in planted.store.texts]
    texts[0] = np.vstack([np.full((1, 24), 4000.0, dtype=np.float32), texts[0]])
    found = passport(coder, MemoryStore(texts, planted.store.frame))
    assert found.n_sinks == 1
    assert found.explained_variance.value == pytest.approx(plain.explained_variance.value, abs=1e-9)


def test_a_token_limit_takes_whole_texts_at_random(planted):
    found = passport(planted_coder(planted), planted.store, tokens=60, seed=3)
    assert 60 <= found.n_tokens < 80
    assert found.n_texts < len(planted.store)
    again = passport(planted_coder(planted), planted.store, tokens=60, seed=3)
    assert again.explained_variance == found.explained_variance
    other = passport(planted_coder(planted), planted.store, tokens=60, seed=4)
    assert other.explained_variance.value != found.explained_variance.value


def test_site_and_model_must_fit(planted):
    with pytest.raises(MismatchError, match=r"reads resid_post\.1, these activations are resid_post\.2\. Record that"):
        passport(planted_coder(planted, site=Site("resid_post", 1)), planted.store)
    with pytest.raises(MismatchError, match=r"reads resid_post\.1"):
        passport(planted_coder(planted, site=Site("resid_post", 1)), planted.store[SITE])
    other = planted_coder(planted, facts={"model": {"name": "other", "fingerprint": "0" * 64}})
    with pytest.raises(MismatchError, match="trained on model 'other'"):
        passport(other, planted.store)


def test_threshold_frame_and_file(planted, tmp_path):
    found = passport(planted_coder(planted), planted.store)
    value = found.explained_variance.value
    assert found.passes(value - 0.01)
    assert not found.passes(value + 0.01)
    found.require(value - 0.01)
    with pytest.raises(UnfitError, match="is wanted"):
        found.require(value + 0.01)
    table = found.frame().set_index("metric")
    assert table.loc["explained_variance", "value"] == value
    assert list(table.index)[:4] == ["explained_variance", "l0", "dead_share", "dense_share"]
    assert table.loc["decoder_norm max", "value"] == pytest.approx(planted.scale.max())
    saved = read_json(found.save(tmp_path / "passport.json"))
    assert saved["explained_variance"]["value"] == value
    assert saved["site"] == "resid_post.2"
