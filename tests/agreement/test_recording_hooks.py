"""Recording against plain forward hooks, one text at a time, without nnsight, padding or our resolver."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from emovec_sae.models.model import Model
from emovec_sae.models.seam import forward, run_prefix
from emovec_sae.models.tokens import pad
from emovec_sae.recording.record import record
from emovec_sae.sites import STREAMS, Site
from emovec_sae.testing import ARCHITECTURES, tiny_corpus

OFFSET = 6
LAYERS = 3
# The modules as their authors named them, written out here and not taken from the package.
PLACES = {
    "gpt2": ("transformer.h.{}", "attn", "mlp"),
    "gpt_neox": ("gpt_neox.layers.{}", "attention", "mlp"),
    "gemma2": ("model.layers.{}", "post_attention_layernorm", "post_feedforward_layernorm"),
    "gemma3": ("model.layers.{}", "post_attention_layernorm", "post_feedforward_layernorm"),
    "olmo2": ("model.layers.{}", "post_attention_layernorm", "post_feedforward_layernorm"),
}
# Batched and single rows may take other matrix kernels. Measured over all architectures, whose streams reach 13: at
# most 1e-6 in float32 and nothing in bfloat16, where one step at 13 is 0.06.
ATOL = {"float32": 1e-5, "bfloat16": 0.07}


def place(model: Model, architecture: str, site: Site) -> tuple[torch.nn.Module, bool]:
    """The module of a site, and whether its input is meant."""
    block, attention, mlp = PLACES.get(architecture, ("model.layers.{}", "self_attn", "mlp"))
    below = {"attn_out": f".{attention}", "mlp_out": f".{mlp}"}.get(site.stream, "")
    return model.module.get_submodule(block.format(site.layer) + below), site.stream == "resid_pre"


def first(value: Any) -> torch.Tensor:
    return value[0] if isinstance(value, tuple) else value


@contextmanager
def hooked(model: Model, architecture: str, sites: Sequence[Site]) -> Iterator[dict[Site, torch.Tensor]]:
    """Plain hooks that keep what passes."""
    seen: dict[Site, torch.Tensor] = {}
    handles = []
    for site in sites:
        module, before = place(model, architecture, site)

        def keep(_: Any, args: Any, kwargs: Any, output: Any = None, *, site: Site = site) -> None:
            seen[site] = (first(args) if args else kwargs["hidden_states"]) if output is None else first(output)

        if before:
            handles.append(module.register_forward_pre_hook(keep, with_kwargs=True))
        else:
            handles.append(module.register_forward_hook(keep, with_kwargs=True))
    yield seen
    for handle in handles:
        handle.remove()


ALL = [Site(stream, layer) for layer in range(LAYERS) for stream in STREAMS]
CASES = [(name, "float32") for name in ARCHITECTURES] + [("llama", "bfloat16"), ("gemma3", "bfloat16")]


@pytest.mark.parametrize(("architecture", "dtype"), CASES)
def test_recorded_values_are_those_of_plain_hooks(
    tiny: Callable[..., Model], tmp_path: Path, architecture: str, dtype: str
) -> None:
    model, corpus, atol = tiny(architecture, dtype=dtype), tiny_corpus(groups=2), ATOL[dtype]
    acts = record(
        model, corpus, sites=ALL, pool=("mean", "last", "none"), out=tmp_path / "a", offset=OFFSET, budget=300
    )
    right: dict[Site, list[np.ndarray]] = {site: [] for site in ALL}
    for text in corpus.frame["text"]:
        ids = torch.tensor([model.tokens.tokenizer(text)["input_ids"]])
        with torch.no_grad(), hooked(model, architecture, ALL) as seen:
            model.module(input_ids=ids)
        for site in ALL:
            right[site].append(seen[site][0].float().numpy())
    for site in ALL:
        tokens: dict[int, np.ndarray] = {}
        for chunk in acts.tokens(site):
            for row in np.unique(chunk.text):
                tokens[int(row)] = chunk.values[chunk.text == row]
            np.testing.assert_array_equal(chunk.pooled, chunk.position >= OFFSET)
        for row, whole in enumerate(right[site]):
            # no special token in these texts: everything but the first is kept
            np.testing.assert_allclose(tokens[row], whole[1:], rtol=0, atol=atol)
            np.testing.assert_allclose(acts.pooled(site, "last")[row], whole[-1], rtol=0, atol=atol)
            np.testing.assert_allclose(acts.pooled(site)[row], whole[OFFSET:].mean(axis=0), rtol=0, atol=atol)
        norms = np.linalg.norm(np.concatenate([whole[OFFSET:] for whole in right[site]]), axis=1)
        assert acts.residual_norm[str(site)] == pytest.approx(norms.mean(), rel=1e-2 if dtype == "bfloat16" else 1e-5)
    for site, other in pairwise(ALL):
        if (site.stream, other.stream) != ("resid_post", "resid_pre"):
            gap = np.abs(acts.pooled(site) - acts.pooled(other)).max()
            assert gap > 3 * atol, f"the tolerance could not tell {site} from {other}"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_block_leaves_what_the_next_one_takes(tiny: Callable[..., Model], tmp_path: Path, architecture: str) -> None:
    acts = record(
        tiny(architecture), tiny_corpus(groups=1), sites="resid_post.0-1,resid_pre.1-2", out=tmp_path / "a", offset=2
    )
    for layer in range(LAYERS - 1):
        left, taken = acts.pooled(f"resid_post.{layer}"), acts.pooled(f"resid_pre.{layer + 1}")
        np.testing.assert_array_equal(left, taken)


@pytest.mark.parametrize(("architecture", "dtype"), CASES)
@pytest.mark.parametrize("stream", STREAMS)
def test_a_write_changes_what_plain_hooks_would_change(
    tiny: Callable[..., Model], architecture: str, dtype: str, stream: str
) -> None:
    from emovec_sae.interventions.edits import Shift

    model, site = tiny(architecture, dtype=dtype), Site(stream, 1)
    batch = pad(model.tokens.encode(["a river"]), pad_id=0)
    vector = np.random.default_rng(0).standard_normal(model.d_model)
    edit = Shift(vector, site=site, coefficient=5.0)
    added = torch.from_numpy(edit.unit * np.float32(5.0)).to(next(model.module.parameters()).dtype)
    module, before = place(model, architecture, site)

    def shift_in(_: Any, args: Any, kwargs: Any) -> Any:
        if args:
            return (args[0] + added, *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": kwargs["hidden_states"] + added}

    def shift_out(_: Any, __: Any, output: Any) -> Any:
        return (output[0] + added, *output[1:]) if isinstance(output, tuple) else output + added

    with torch.no_grad():
        base = model.module(**batch.inputs()).logits
        handle = (
            module.register_forward_pre_hook(shift_in, with_kwargs=True)
            if before
            else module.register_forward_hook(shift_out)
        )
        right = model.module(**batch.inputs()).logits
        handle.remove()
        final = forward(model, batch, edits=[edit], final=True).final
        got = model.head(final)
    assert not torch.equal(right, base)
    torch.testing.assert_close(got, right.float(), rtol=0, atol=0)


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2"])
def test_batches_of_other_sizes_give_the_same_values(
    tiny: Callable[..., Model], tmp_path: Path, architecture: str
) -> None:
    model, corpus = tiny(architecture), tiny_corpus()
    stores = [
        record(model, corpus, sites="resid_post.2", pool=("mean", "last"), out=tmp_path / str(size), budget=size)
        for size in (1, 100, 5000)
    ]
    for other in stores[1:]:
        for pool in ("mean", "last"):
            got, right = other.pooled("resid_post.2", pool), stores[0].pooled("resid_post.2", pool)
            np.testing.assert_allclose(got, right, rtol=0, atol=ATOL["float32"])
        assert other.residual_norm["resid_post.2"] == pytest.approx(stores[0].residual_norm["resid_post.2"], rel=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_resuming_behind_a_prefix_gives_equal_bits(tiny: Callable[..., Model], architecture: str, dtype: str) -> None:
    """The blocks above see the very tensor that they would have seen, so not a bit may differ."""
    model = tiny(architecture, dtype=dtype)
    batch = pad(model.tokens.encode(["a river and a lamp", "paper", "a window there"]), pad_id=0)
    whole = forward(model, batch, read=ALL, final=True)
    for site in ALL:
        prefix = run_prefix(model, batch, site)
        assert prefix.layer == (site.layer if site.stream == "resid_post" else site.layer - 1)
        above = [one for one in ALL if not one < site] if site.stream == "resid_post" else [site]
        again = forward(model, batch, read=above, prefix=prefix, final=True)
        torch.testing.assert_close(again.final[batch.mask], whole.final[batch.mask], rtol=0, atol=0)
        for one in above:
            torch.testing.assert_close(again.values[one][batch.mask], whole.values[one][batch.mask], rtol=0, atol=0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_pass_stops_at_the_deepest_site(tiny: Callable[..., Model], tmp_path: Path, architecture: str) -> None:
    model = tiny(architecture)
    ran: list[int] = []
    handles = [
        model.module.get_submodule(path).register_forward_hook(lambda *_, layer=layer: ran.append(layer))
        for layer, path in enumerate(model.blocks.layers)
    ]
    corpus = tiny_corpus(groups=1)
    record(model, corpus, sites="resid_pre.0,mlp_out.1", out=tmp_path / "a", offset=2, budget=4096)
    for handle in handles:
        handle.remove()
    assert set(ran) <= {0, 1}, "a block above the deepest site ran"
    assert ran.count(0) == 1
