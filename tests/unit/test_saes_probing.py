"""k-sparse probing on planted latents: few latents suffice where the truth is sparse."""

from __future__ import annotations

import numpy as np
import pytest
from memory_store import SITE, plant, planted_coder

from emovec_sae.errors import ConfigError
from emovec_sae.provenance import read_json
from emovec_sae.saes.probing import probe_latents
from emovec_sae.saes.text_latents import text_latents


@pytest.fixture(scope="module")
def planted():
    return plant(emotions=4, groups=6, repeats=2, noise=0.3)


@pytest.fixture(scope="module")
def probed(planted):
    return probe_latents(planted_coder(planted), planted.store, folds=3, sizes=(1, 2, 8))


def test_text_means_equal_a_plain_loop(planted):
    coder = planted_coder(planted)
    found = text_latents(coder, planted.store[SITE])
    for row, text in enumerate(planted.store.texts):
        expected = coder.encode(text[planted.store.offset :]).numpy().mean(0)
        np.testing.assert_allclose(found.latents[[row]].toarray()[0], expected, atol=1e-5)
    np.testing.assert_allclose(found.residual, planted.store.pooled(SITE), atol=1e-5)


def test_planted_latents_are_chosen_and_tell_everything(probed):
    for e in range(4):
        first = probed.chosen.query(f"emotion == 'e{e}' and rank == 1")
        assert set(first["latent"]) == {e}
    table = probed.frame().set_index(["features", "k"])
    assert table.loc[("latents", 1), "value"] > 0.99
    assert table.loc[("latents", 1), "value"] > table.loc[("residual dimensions", 1), "value"] + 0.02
    assert table.loc[("random latents", 1), "value"] < 0.75
    gain = table.loc[("latents", 1), "value"] - table.loc[("residual dimensions", 1), "value"]
    assert table.loc[("latents minus residual dimensions", 1), "value"] == pytest.approx(gain)
    assert table["high"].max() <= 1
    assert table.loc[("whole residual", 24), "value"] > 0.95
    assert table.loc[("latents", 1), "n"] == 4


def test_labels_that_mean_nothing_give_one_half(planted):
    rng = np.random.default_rng(0)
    store = planted.store.where(np.arange(len(planted.store)))
    store.frame = store.frame.assign(emotion=rng.permutation(store.frame["emotion"].to_numpy()))
    found = probe_latents(planted_coder(planted), store, folds=2, sizes=(4,)).frame().set_index("features")
    assert abs(found.loc["latents", "value"] - 0.5) < 0.2


def test_result_is_drawn_and_saved(probed, tmp_path):
    assert probed.plot().to_dict()["layer"]
    saved = read_json(probed.save(tmp_path / "p.json"))
    assert len(saved["table"]) == len(probed.table) == 4 * (3 * 3 + 1)
    assert saved["folds"] == 3
    assert "AUROC at k = 8" in repr(probed)
    again = probed.table["n"]
    assert (again == 12).all()


def test_bad_input_is_refused(planted):
    coder = planted_coder(planted)
    with pytest.raises(ConfigError, match="did you mean 'e1'"):
        probe_latents(coder, planted.store, emotions=["e11"])
    with pytest.raises(ConfigError, match="6 groups cannot"):
        probe_latents(coder, planted.store, folds=7)
    with pytest.raises(ConfigError, match="sizes must lie between 1 and 16"):
        probe_latents(coder, planted.store, sizes=(0, 2))
    one = planted.store.where((planted.store.frame["emotion"] == "e0").to_numpy())
    with pytest.raises(ConfigError, match="these texts have 1"):
        probe_latents(coder, one)
    few = planted.store.where(~((planted.store.frame["emotion"] == "e0") & (planted.store.frame["group"] > "g0")))
    with pytest.raises(ConfigError, match="'e0' has no text in one of the 3 folds"):
        probe_latents(coder, few, folds=3)
