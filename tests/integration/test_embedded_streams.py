"""Both embedded models: all four streams read what plain hooks see, and writes change the logits."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from emovec_sae.models.load import load_model
from emovec_sae.models.model import Model
from emovec_sae.models.seam import forward
from emovec_sae.models.tokens import pad
from emovec_sae.sites import STREAMS, Site

TEXTS = ["The bus was late and nobody minded.", "Rain again."]
# Written out here, not taken from the package.
PLACES = {
    "smollm2-135m-instruct": ("self_attn", "mlp"),
    "gemma-3-270m": ("post_attention_layernorm", "post_feedforward_layernorm"),
}


@pytest.fixture(scope="module", params=list(PLACES))
def model(request: pytest.FixtureRequest) -> Model:
    if request.param == "smollm2-135m-instruct":
        return request.getfixturevalue("smollm")
    return load_model(request.param, device="cpu", check=False)


class Nudge:
    positions = "all"

    def __init__(self, site: Site) -> None:
        self.site = site

    def __call__(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        ramp = torch.linspace(-1, 1, hidden.shape[-1], dtype=hidden.dtype)
        return hidden + ramp * hidden.float().norm(dim=-1).median().to(hidden.dtype)


def test_every_stream_is_read_and_written(model: Model) -> None:
    attention, mlp = PLACES[model.name]
    batch = pad(model.tokens.encode(TEXTS), pad_id=model.tokens.pad_id)
    layers = (0, model.n_layers // 2, model.n_layers - 1)
    sites = [Site(stream, layer) for layer in layers for stream in STREAMS]
    seen: dict[Site, torch.Tensor] = {}
    handles = []
    for site in sites:
        below = {"attn_out": f".{attention}", "mlp_out": f".{mlp}"}.get(site.stream, "")
        module = model.module.get_submodule(f"model.layers.{site.layer}{below}")

        def keep(_module: Any, args: Any, kwargs: Any, output: Any = None, *, site: Site = site) -> None:
            value = output if output is not None else (args[0] if args else kwargs["hidden_states"])
            seen[site] = value[0] if isinstance(value, tuple) else value

        add = module.register_forward_pre_hook if site.stream == "resid_pre" else module.register_forward_hook
        handles.append(add(keep, with_kwargs=True))
    with torch.no_grad():
        model.module(**batch.inputs())
    for handle in handles:
        handle.remove()
    found = forward(model, batch, read=sites).values
    plain = forward(model, batch, final=True).final
    for site in sites:
        assert found[site].shape == (2, batch.mask.shape[1], model.d_model)
        assert torch.equal(found[site], seen[site]), site
        edited = forward(model, batch, edits=[Nudge(site)], final=True).final
        assert not torch.equal(edited, plain), site
