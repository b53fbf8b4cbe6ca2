"""Training: on planted latents, saved in sae-lens's format, whole or not at all."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from memory_store import SITE, MemoryStore

from emovec_sae.errors import ConfigError, StoreError
from emovec_sae.provenance import read_json
from emovec_sae.saes.passport import passport
from emovec_sae.saes.train import train_sae

D, D_SAE = 16, 32


@pytest.fixture(scope="module")
def acts():
    """4,000 tokens of 3 out of 24 latents on a raised mean, residual norm about 40, and two sinks of norm 9,000."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((24, D))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    texts = []
    for _ in range(80):
        f = np.zeros((50, 24))
        np.put_along_axis(f, np.argsort(rng.random(f.shape), axis=1)[:, :3], rng.uniform(8, 16, (50, 3)), axis=1)
        texts.append(f @ rows + 9.0)
    texts[3][0] = texts[40][1] = 9000 / D**0.5
    frame = pd.DataFrame({"id": [f"t{i}" for i in range(80)], "group": [f"g{i % 8}" for i in range(80)]})
    return MemoryStore(texts, frame.assign(text="x", emotion="e", n_tokens=50))


def train(acts, out, **options):
    settings = {"d_sae": D_SAE, "k": 3, "tokens": 24_000, "batch": 128, "held_out": ["g7"], "seed": 1}
    return train_sae(acts[SITE], out=out, **(settings | options))


@pytest.fixture(scope="module")
def trained(acts, tmp_path_factory):
    seen, state = [], torch.random.get_rng_state()
    out = tmp_path_factory.mktemp("sae") / "topk"
    coder = train(acts, out, progress=lambda done, total: seen.append((done, total)))
    assert torch.equal(torch.random.get_rng_state(), state), "training must not draw from the global generator"
    return coder, out, seen


def test_it_explains_planted_latents_of_raw_held_out_activations(acts, trained):
    coder, _, seen = trained
    held_out = acts.where((acts.frame["group"] == "g7").to_numpy())
    found = passport(coder, held_out)
    assert found.explained_variance.value > 0.7
    assert found.l0.value <= 3
    assert found.texts_trained_on == 0
    assert passport(coder, acts).texts_trained_on == 70
    assert seen[-1] == (187 * 128 + 128, 188 * 128)
    assert [done for done, _ in seen] == [128 * (step + 1) for step in range(188)]


def test_the_folder_is_sae_lens_own(acts, trained):
    from sae_lens import SAE

    coder, out, _ = trained
    sae = SAE.load_from_disk(out)
    assert (sae.cfg.architecture(), sae.cfg.normalize_activations) == ("topk", "none")
    assert (sae.cfg.metadata.hook_name, sae.cfg.metadata.model_name) == (SITE.hook_name, "planted")
    x = torch.from_numpy(acts.texts[5])
    with torch.no_grad():
        torch.testing.assert_close(coder.reconstruct(x), sae.decode(sae.encode(x)), rtol=1e-4, atol=1e-3)
    assert {path.name for path in out.iterdir()} == {"cfg.json", "sae_weights.safetensors", "emovec.json"}
    assert {path.name for path in out.parent.iterdir()} == {"topk"}, "no temporary folder may stay"


def test_it_says_what_it_was_trained_on(trained):
    coder, out, _ = trained
    facts = read_json(out / "emovec.json")
    assert facts == coder.facts
    assert facts["texts"]["groups"] == [f"g{i}" for i in range(7)]
    assert facts["texts"]["held_out"] == ["g7"]
    assert len(facts["texts"]["ids"]) == 70
    training = facts["training"]
    assert (training["unique_tokens"], training["batch"], training["seed"]) == (3500, 128, 1)
    assert training["epochs"] == pytest.approx(188 * 128 / 3500)
    assert 30 < facts["residual"]["mean_norm"] < 60
    # Both sinks lie in the training texts, which are passed through between 6 and 7 times.
    assert 10 <= training["sinks_left_out"] <= 14
    assert training["sink_limit"] < 400


def test_the_same_seed_gives_the_same_sae_and_another_one_another(acts, tmp_path):
    one, again, other = (
        train(acts, tmp_path / name, tokens=1000, seed=seed).fingerprint
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert one == again != other


@pytest.mark.parametrize(("architecture", "saved"), [("batchtopk", "jumprelu"), ("jumprelu", "jumprelu"),
                                                     ("standard", "standard"), ("matching_pursuit", "matching_pursuit"),
                                                     ("gated", "gated"), ("abstopk", "abstopk"),
                                                     ("matryoshka_batchtopk", "jumprelu")])  # fmt: skip
def test_every_architecture_trains_saves_and_loads(acts, tmp_path, architecture, saved):
    coder = train(acts, tmp_path / "sae", architecture=architecture, tokens=2000)
    assert coder.architecture == saved
    assert torch.isfinite(coder.reconstruct(torch.from_numpy(acts.texts[0]))).all()


def test_folding_the_scale_changes_nothing(acts, tmp_path, monkeypatch):
    """The SAE as trained, on scaled input and scaled back, against the saved one on raw input."""
    from sae_lens import TopKTrainingSAE

    before = {}
    fold = TopKTrainingSAE.fold_activation_norm_scaling_factor
    x = torch.from_numpy(acts.texts[7])

    def watch(self, scale):
        with torch.no_grad():
            before["x"] = self(x * scale) / scale
        fold(self, scale)

    monkeypatch.setattr(TopKTrainingSAE, "fold_activation_norm_scaling_factor", watch)
    coder = train(acts, tmp_path / "sae", tokens=2000)
    torch.testing.assert_close(coder.reconstruct(x), before["x"], rtol=1e-4, atol=1e-3)


def test_options_reach_sae_lens_and_misspelt_ones_are_named(acts, tmp_path):
    coder = train(acts, tmp_path / "a", tokens=500, options={"aux_loss_coefficient": 0.5})
    assert coder.metadata["training_architecture_details"]["aux_loss_coefficient"] == 0.5
    with pytest.raises(ConfigError, match=r"no option 'aux_loss_coeficient'.*did you mean 'aux_loss_coefficient'"):
        train(acts, tmp_path / "b", options={"aux_loss_coeficient": 0.5})
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"architecture": "topkk"}, "did you mean 'topk'"),
        ({"k": 99}, "k must lie between 1 and d_sae = 32"),
        ({"k": 0}, "k must lie between"),
        ({"batch": 5000}, "3500 tokens are recorded"),
        ({"tokens": 0}, "must be positive"),
        ({"held_out": ["g9"]}, "no text has the group 'g9'"),
    ],
)
def test_impossible_settings_are_refused_before_anything_is_written(acts, tmp_path, options, words):
    with pytest.raises(ConfigError, match=words):
        train(acts, tmp_path / "sae", **options)
    assert not list(tmp_path.iterdir())


def test_nothing_half_written_and_nothing_overwritten(acts, tmp_path):
    out = tmp_path / "sae"

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(acts, out, progress=stop)
    assert not list(tmp_path.iterdir())
    first = train(acts, out, tokens=500)
    with pytest.raises(ConfigError, match="exists already"):
        train(acts, out, tokens=500, seed=5)
    assert (out / "cfg.json").exists()
    assert train(acts, out, tokens=500, seed=5, overwrite=True).fingerprint != first.fingerprint
    assert [path.name for path in tmp_path.iterdir()] == ["sae"]


def test_pooled_values_cannot_be_trained_on(acts, tmp_path):
    pooled = MemoryStore(acts.texts, acts.frame, has_tokens=False)
    pooled.shuffled = pooled.tokens
    pooled.count_tokens = lambda site: list(pooled.tokens(site))
    with pytest.raises(StoreError):
        train(pooled, tmp_path / "sae", held_out=[])
