"""Our decode(encode(x)) against sae-lens's, for every architecture that it makes, decoder rows not unit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emovec_sae.errors import MismatchError, UnfitError
from emovec_sae.saes.coder import SparseCoder
from emovec_sae.sites import Site

D_IN, D_SAE = 20, 48
HOOK = "blocks.2.hook_resid_post"
CASES = [
    ("standard", {}),
    ("standard", {"apply_b_dec_to_input": False}),
    ("gated", {}),
    ("jumprelu", {}),
    ("jumprelu", {"apply_b_dec_to_input": False}),
    ("topk", {"k": 5}),
    ("topk", {"k": 5, "rescale_acts_by_decoder_norm": True}),
    ("abstopk", {"k": 5}),
    ("abstopk", {"k": 5, "rescale_acts_by_decoder_norm": True}),
    ("matching_pursuit", {"max_iterations": 4}),
    ("matching_pursuit", {"max_iterations": 4, "apply_b_dec_to_input": False}),
]


def make(architecture, options, *, training=False, **metadata):
    from sae_lens.registry import get_sae_class, get_sae_training_class
    from sae_lens.saes.sae import SAEMetadata

    known = SAEMetadata(hook_name=HOOK, **metadata)
    sae_class, config = (get_sae_training_class if training else get_sae_class)(architecture)
    sae = sae_class(config(d_in=D_IN, d_sae=D_SAE, metadata=known, **options))
    draw = torch.Generator().manual_seed(3)
    for name, value in sae.named_parameters():
        value.data = torch.randn(value.shape, generator=draw) * 0.3
        if name == "threshold":
            value.data = value.data.abs()
    scale = torch.rand(D_SAE, generator=draw) * (0.5 if architecture == "matching_pursuit" else 2.0) + 0.4
    sae.W_dec.data = sae.W_dec.data / sae.W_dec.data.norm(dim=1, keepdim=True) * scale[:, None]
    return sae


@pytest.fixture
def x():
    return torch.randn(33, D_IN, generator=torch.Generator().manual_seed(4)) * 3


def check(sae, x):
    with torch.no_grad():
        theirs = sae.decode(sae.encode(x))
        if theirs.is_sparse:
            theirs = theirs.to_dense()
    coder = SparseCoder(sae)
    # float32 sums of up to 48 terms of size about 3, in another order
    torch.testing.assert_close(coder.reconstruct(x), theirs, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(coder.directions.norm(dim=1), torch.ones(D_SAE))
    latents, error = coder.split(x)
    torch.testing.assert_close(coder.decode(latents) + error, x, rtol=1e-4, atol=1e-4)
    assert (latents != 0).any()
    return coder, latents


@pytest.mark.parametrize(("architecture", "options"), CASES)
def test_reconstruction_equals_sae_lens(architecture, options, x):
    coder, latents = check(make(architecture, options), x)
    assert coder.architecture == architecture
    values, indices = coder.encode_sparse(x)
    dense = torch.zeros_like(latents).scatter_add(1, indices, values)
    torch.testing.assert_close(dense, latents)
    assert values.shape[1] == int((latents != 0).sum(1).max())


@pytest.mark.parametrize("architecture", ["batchtopk", "matryoshka_batchtopk"])
def test_training_architectures_that_save_as_jumprelu(architecture, x, tmp_path):
    from sae_lens import SAE

    options = {"matryoshka_widths": [12, 24, D_SAE]} if "matryoshka" in architecture else {}
    sae = make(architecture, {"k": 5, **options}, training=True)
    sae.topk_threshold.fill_(0.5)
    sae.save_inference_model(tmp_path / "sae")
    coder, _ = check(SAE.load_from_disk(tmp_path / "sae"), x)
    assert coder.architecture == "jumprelu"


@pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled")
def test_a_trained_sae_with_sparse_activations_is_read_too(x):
    check(make("topk", {"k": 5, "use_sparse_activations": True}, training=True), x)


def test_latents_of_rescaled_topk_do_not_depend_on_the_decoder_norms(x):
    """The trap of libraries.md: there, f @ W_dec + b_dec is not decode(f)."""
    sae = make("topk", {"k": 5, "rescale_acts_by_decoder_norm": True})
    with torch.no_grad():
        f = sae.encode(x)
        wrong = f @ sae.W_dec + sae.b_dec
        right = sae.decode(f)
    assert (wrong - right).norm() > 0.1 * right.norm()
    torch.testing.assert_close(SparseCoder(sae).encode(x), f)


def test_input_of_any_float_type_is_cast_and_left_alone(x):
    coder = SparseCoder(make("standard", {}))
    half = x.to(torch.bfloat16)
    torch.testing.assert_close(coder.encode(half), coder.encode(half.float()))
    array = x.double().numpy()
    before = array.copy()
    assert coder.encode(array).dtype == torch.float32
    np.testing.assert_array_equal(array, before)


def test_chunks_give_the_same_as_one_call(x, monkeypatch):
    coder = SparseCoder(make("topk", {"k": 5}))
    whole = coder.encode_sparse(x)
    monkeypatch.setattr(SparseCoder, "rows_at_once", lambda self, budget=0: 4)
    for one, other in zip(coder.encode_sparse(x), whole, strict=True):
        torch.testing.assert_close(one, other)
    assert SparseCoder.encode_sparse(coder, x[:0])[0].shape == (0, 0)


def test_fingerprint_follows_weights_and_not_notes():
    one, other = SparseCoder(make("standard", {})), SparseCoder(make("standard", {}, model_name="x"))
    assert one.fingerprint == other.fingerprint
    changed = make("standard", {})
    changed.W_dec.data[0, 0] += 1e-3
    assert SparseCoder(changed).fingerprint != one.fingerprint


@pytest.mark.parametrize(
    ("architecture", "options", "words"),
    [
        ("standard", {"normalize_activations": "layer_norm"}, "layer_norm"),
        ("standard", {"normalize_activations": "constant_norm_rescale"}, "constant_norm_rescale"),
        ("standard", {"normalize_activations": "expected_average_only_in"}, "not folded"),
    ],
)
def test_sae_whose_latents_do_not_add_up_is_refused(architecture, options, words):
    with pytest.raises(UnfitError, match=words):
        SparseCoder(make(architecture, options))


def test_other_unreadable_saes_are_refused():
    from sae_lens import JumpReLUTranscoder, JumpReLUTranscoderConfig, StandardSAE, StandardSAEConfig
    from sae_lens.saes.sae import SAEMetadata

    transcoder = JumpReLUTranscoder(
        JumpReLUTranscoderConfig(d_in=D_IN, d_sae=D_SAE, d_out=D_IN, apply_b_dec_to_input=False)
    )
    with pytest.raises(UnfitError, match="another site"):
        SparseCoder(transcoder)
    heads = SAEMetadata(hook_name="blocks.2.attn.hook_z")
    config = StandardSAEConfig(d_in=D_IN, d_sae=D_SAE, reshape_activations="hook_z", metadata=heads)
    with pytest.raises(UnfitError, match="hook_z"):
        SparseCoder(StandardSAE(config))
    with pytest.raises(UnfitError, match="single attention head"):
        SparseCoder(make("standard", {}, hook_head_index=1))
    with pytest.warns(UserWarning, match="model_from_pretrained_kwargs"):
        centred = make("standard", {}, model_from_pretrained_kwargs={"center_writing_weights": True})
    with pytest.raises(UnfitError, match="centred"):
        SparseCoder(centred)
    with pytest.raises(UnfitError, match="attention heads"):
        SparseCoder(StandardSAE(StandardSAEConfig(d_in=D_IN, d_sae=D_SAE, metadata=heads)))
    nowhere = StandardSAE(StandardSAEConfig(d_in=D_IN, d_sae=D_SAE))
    with pytest.raises(MismatchError, match="give site="):
        SparseCoder(nowhere)
    assert SparseCoder(nowhere, site=Site("resid_post", 1)).site == Site("resid_post", 1)


def test_an_architecture_that_decodes_otherwise_is_noticed(monkeypatch):
    sae = make("standard", {})
    straight = type(sae).decode
    monkeypatch.setattr(type(sae), "decode", lambda self, f: straight(self, f * f * 2))
    with pytest.raises(UnfitError, match="does not decode as a sum"):
        SparseCoder(sae)


def test_mismatches_name_both_sides():
    coder = SparseCoder(make("standard", {}), name="x", facts={"model": {"name": "a", "fingerprint": "1" * 64}})
    here = Site("resid_post", 2)
    coder.require(site=here, d_model=D_IN, model={"fingerprint": "1" * 64})
    coder.require(site=here, d_model=D_IN, model={"name": "unknown"})
    with pytest.raises(MismatchError, match=r"reads resid_post\.2, these activations are resid_post\.17"):
        coder.require(site=Site("resid_post", 17), d_model=D_IN)
    with pytest.raises(MismatchError, match="20 wide, these are 32"):
        coder.require(site=here, d_model=32)
    with pytest.raises(MismatchError, match="trained on model 'a'"):
        coder.require(site=here, d_model=D_IN, model={"name": "b", "fingerprint": "2" * 64})
    with pytest.raises(MismatchError, match=r"arrays \(n, 20\)"):
        coder.encode(torch.zeros(3, 7))
