"""Splice loss against permanent hooks, with an SAE that loses nothing, and the site check."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from emovec_sae.errors import CorpusError, MismatchError
from emovec_sae.recording.record import record
from emovec_sae.saes.coder import SparseCoder
from emovec_sae.saes.passport import passport
from emovec_sae.saes.splice import splice_loss
from emovec_sae.sites import Site
from emovec_sae.testing import tiny_corpus, tiny_model

SITE = Site("resid_post", 1)
LIMIT = 1e6


def coder_of(d: int, *, keep: int, site: Site = SITE, model: str = "tiny-llama") -> SparseCoder:
    """An SAE with a latent for either sign of each of the first `keep` dimensions: it loses the other dimensions."""
    from sae_lens import StandardSAE, StandardSAEConfig
    from sae_lens.saes.sae import SAEMetadata

    metadata = SAEMetadata(hook_name=site.hook_name, model_name=model)
    sae = StandardSAE(StandardSAEConfig(d_in=d, d_sae=2 * keep, metadata=metadata, apply_b_dec_to_input=False))
    rows = torch.cat([torch.eye(d)[:keep], -torch.eye(d)[:keep]])
    sae.W_dec.data, sae.W_enc.data = rows, rows.T.contiguous()
    sae.b_enc.data, sae.b_dec.data = torch.zeros(2 * keep), torch.zeros(d)
    return SparseCoder(sae, name="axes")


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def acts(model, tmp_path_factory):
    sites = {"resid_post.0": ("mean", "none"), "resid_post.1": ("mean", "none"), "resid_post.2": ("mean", "none")}
    return record(model, tiny_corpus(repeats=3), sites=sites, out=tmp_path_factory.mktemp("acts") / "a", offset=5)


def hooked(model, ids, fill, *, path="model.layers.1"):
    """Log-probabilities with a plain forward hook that fills every token but the first."""

    def hook(module, inputs, output):
        hidden = output[0] if isinstance(output, tuple) else output
        new = hidden.clone()
        new[:, 1:] = fill(hidden[:, 1:])
        return (new, *output[1:]) if isinstance(output, tuple) else new

    handle = model.module.get_submodule(path).register_forward_hook(hook)
    try:
        with torch.no_grad():
            return model.module(input_ids=torch.tensor([ids])).logits[0].float().log_softmax(-1)
    finally:
        handle.remove()


def test_losses_equal_those_of_plain_hooks(model):
    coder = coder_of(32, keep=24)
    texts = ["a quiet morning by the river", "the lamp went out", "nobody said one more word about that"]
    mean = np.random.default_rng(0).standard_normal(32)
    found = splice_loss(coder, model, texts, mean=mean, limit=LIMIT)
    fills = {
        "base": lambda h: h,
        "spliced": lambda h: torch.cat([h[..., :24], torch.zeros_like(h[..., 24:])], -1),
        "mean ablation": lambda h: torch.tensor(mean).float().expand_as(h),
        "zero ablation": torch.zeros_like,
    }
    ce, kl, count = dict.fromkeys(fills, 0.0), dict.fromkeys(fills, 0.0), 0
    for ids in model.tokens.encode(texts):
        logs = {arm: hooked(model, ids, fill) for arm, fill in fills.items()}
        count += len(ids) - 2
        for arm, log in logs.items():
            ce[arm] -= sum(float(log[p, ids[p + 1]]) for p in range(1, len(ids) - 1))
            kl[arm] += float((logs["base"].exp() * (logs["base"] - log))[1:-1].sum())
    assert (found.n_tokens, found.n_texts, found.replaced) == (count, 3, count + 3)
    for arm, value in ce.items():
        assert found.ce[arm].value == pytest.approx(value / count, rel=1e-4)
    for arm in ("spliced", "mean ablation", "zero ablation"):
        assert found.kl[arm].value == pytest.approx(kl[arm] / count, rel=1e-3)
    recovered = (ce["mean ablation"] - ce["spliced"]) / (ce["mean ablation"] - ce["base"])
    assert found.ce_recovered.value == pytest.approx(recovered, rel=1e-3)


@pytest.mark.parametrize("site", [SITE, Site("mlp_out", 1), Site("resid_pre", 1)])
def test_an_sae_that_loses_nothing_has_no_loss(model, site):
    texts = [f"the {word} stood there" for word in ("lamp", "table", "river", "letter")] * 6
    found = splice_loss(coder_of(32, keep=32, site=site), model, texts, mean=np.ones(32), limit=LIMIT)
    assert found.kl["spliced"].value == pytest.approx(0, abs=1e-5)
    assert found.ce_recovered.value == pytest.approx(1, abs=1e-4)
    assert found.ce_recovered.low <= 1 <= found.ce_recovered.high + 1e-4
    assert found.with_first.value == pytest.approx(1, abs=1e-6)


def test_sinks_are_left_as_they_are(model):
    text = "a quiet morning by the river"
    ids = model.tokens.encode([text])[0]
    norms = []
    hooked(model, ids, lambda h: norms.extend(h[0].norm(dim=-1).tolist()) or h)
    limit = float(np.median(norms))
    found = splice_loss(coder_of(32, keep=4), model, [text], mean=np.zeros(32), limit=limit)
    base = hooked(model, ids, lambda h: h)
    other = hooked(model, ids, lambda h: torch.where(h.norm(dim=-1, keepdim=True) > limit, h, torch.zeros_like(h)))
    kl = float((base.exp() * (base - other))[1:-1].sum()) / (len(ids) - 2)
    assert found.replaced == sum(norm <= limit for norm in norms) < len(norms)
    assert found.kl["zero ablation"].value == pytest.approx(kl, rel=1e-3)


def test_short_texts_are_refused(model):
    with pytest.raises(CorpusError, match="long enough"):
        splice_loss(coder_of(32, keep=4), model, ["a", "bc"], mean=np.zeros(32), limit=LIMIT)


def test_the_passport_holds_the_splice_and_the_site_check(model, acts, tmp_path):
    coder = coder_of(32, keep=28)
    found = passport(coder, acts, model=model, texts=9)
    assert found.splice is not None
    assert found.splice.n_texts == 9
    table = found.frame().set_index("metric")
    assert table.loc["kl recovered", "value"] == found.splice.kl_recovered.value
    assert 0 < found.splice.kl_recovered.value < 1
    assert {str(one.site) for one in found.neighbours} == {"resid_post.0", "resid_post.2"}
    assert any("position 0 is a text token" in note for note in found.notes)
    assert found.facts()["splice"]["kl"]["spliced"]["value"] == found.splice.kl["spliced"].value
    assert found.plot().to_dict()["vconcat"]
    found.save(tmp_path / "p.json")
    again = passport(coder, acts, model=model, texts=9)
    assert again.hash == found.hash
    assert passport(coder, acts).hash != found.hash
    assert any("no model was given" in note for note in passport(coder, acts).notes)


def test_an_sae_that_names_the_wrong_site_is_told(acts):
    """Rows that span what resid_post.0 does, under the name of resid_post.1."""
    values = np.concatenate([chunk.values for chunk in acts["resid_post.0"].tokens()]).astype(float)
    there = np.concatenate([chunk.values for chunk in acts["resid_post.1"].tokens()]).astype(float)
    axes = np.linalg.svd(values - values.mean(0), full_matrices=False)[2][:12]
    coder = coder_of(32, keep=12)
    rows = torch.tensor(np.concatenate([axes, -axes])).float()
    coder.sae.W_dec.data, coder.sae.W_enc.data = rows, rows.T.contiguous()
    coder.sae.b_dec.data = torch.tensor(values.mean(0) - axes.T @ (axes @ values.mean(0))).float()
    found = passport(SparseCoder(coder.sae, name="axes"), acts)
    best = {str(one.site): one.explained.value for one in found.neighbours}
    assert best["resid_post.0"] > found.explained_variance.value
    assert "probably trained on another site" in found.notes[0]
    assert len(there) == found.n_tokens


def test_another_model_is_refused(acts):
    with pytest.raises(MismatchError, match="recorded on 'tiny-llama'"):
        passport(coder_of(32, keep=8), acts, model=tiny_model(seed=1))


def test_norms_and_frame(acts):
    found = passport(coder_of(32, keep=8), acts, neighbours=0)
    assert found.decoder_norms == dict.fromkeys(("min", "q05", "median", "q95", "max"), 1.0)
    assert found.neighbours == ()
    assert isinstance(found.frame(), pd.DataFrame)
