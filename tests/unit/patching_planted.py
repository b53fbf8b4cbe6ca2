"""A model whose wiring is known: block 1 writes a direction where a token stands, block 2 carries it to the end."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch

from emovec_sae.decomposition.result import Decomposition
from emovec_sae.directions.fit import fit_directions
from emovec_sae.saes.jump_relu import jump_relu
from emovec_sae.sites import Site
from emovec_sae.testing import tiny_model
from tests.unit.directions_planted import store

MARK = "x"
"""The token at which block 1 writes."""
SITE = Site("resid_post", 1)
D = 32
WRITTEN, READ = np.arange(20, 24), 28
"""Dimensions that block 1 writes to, of which `planted` chooses a direction, and the one that the head reads."""


def planted() -> SimpleNamespace:
    """The model, with the unit direction `written` and an SAE of which latents 0, 1 and 2 compose it.

    Block 1's MLP writes the direction at `MARK`; block 2's attention, the same for every token, adds its mean over the
    text to the dimension that the head reads for the answers ``a`` (up) and ``e`` (down). All else writes nothing. All
    embeddings have one length, so that norms tell nothing apart.
    """
    model, random = tiny_model(), np.random.default_rng(0)
    module: Any = model.module
    amounts = np.array([1.0, 0.7, 0.4, 0.0])
    written = np.zeros(D, np.float32)
    written[WRITTEN] = amounts / np.linalg.norm(amounts)
    mark = model.tokens.encode([MARK])[0][0]
    up, down = (model.tokens.encode([one])[0][0] for one in "ae")
    embeddings = np.zeros((len(module.model.embed_tokens.weight), D))
    embeddings[:, :16] = random.normal(size=(len(embeddings), 16))
    embeddings[mark, 16] = 3.0
    embeddings *= 4 / np.linalg.norm(embeddings, axis=1, keepdims=True)
    with torch.no_grad():
        module.model.embed_tokens.weight.copy_(torch.from_numpy(embeddings))
        module.lm_head.weight.zero_()
        module.lm_head.weight[up, READ], module.lm_head.weight[down, READ] = 1.0, -1.0
        for block in module.model.layers:
            for part in (block.self_attn.q_proj, block.self_attn.k_proj, block.self_attn.o_proj, block.mlp.down_proj):
                part.weight.zero_()
        mlp = module.model.layers[1].mlp
        mlp.gate_proj.weight.zero_()
        mlp.up_proj.weight.zero_()
        mlp.gate_proj.weight[0, 16], mlp.up_proj.weight[0, 16] = 2.0, 2.0
        mlp.down_proj.weight[:, 0] = 0.02 * torch.from_numpy(written)
        attention = module.model.layers[2].self_attn
        attention.v_proj.weight.zero_()
        attention.v_proj.weight[0] = torch.from_numpy(written)
        attention.o_proj.weight[READ, 0] = 5.0
    rows = np.zeros((D, D))
    rows[:4, WRITTEN] = np.eye(4)
    others = np.setdiff1d(np.arange(D), WRITTEN)
    rows[4:, others] = np.linalg.qr(random.normal(size=(D - 4, D - 4)))[0]
    sae = jump_relu(rows, np.linalg.pinv(rows), np.zeros(D), threshold=0.05, site=SITE, name="planted")
    return SimpleNamespace(model=model, written=written, sae=sae, parts=decomposition(model, sae))


def directions(found: SimpleNamespace, site: Site = SITE) -> Any:
    """Two directions: sad, which block 1 writes, and calm, which nothing reads."""
    frame = pd.DataFrame(
        {"id": list("abcd"), "text": list("abcd"), "emotion": ["sad", "calm"] * 2, "group": list("aabb")}
    )
    values = {site: np.random.default_rng(1).normal(size=(4, D)).astype(np.float32)}
    fitted = fit_directions(store(frame, values, model=found.model.describe()), site=site)
    calm = np.eye(D, dtype=np.float32)[WRITTEN[-1]]
    return replace(fitted, emotions=("sad", "calm"), vectors=np.stack([3 * found.written, calm]))


def decomposition(model: Any, sae: Any) -> Decomposition:
    """A decomposition that ranks the three latents of sad first, and three that nothing reads for calm."""
    chosen = {"sad": (0, 1, 2, 9), "calm": (3, 10, 11, 12)}
    ranks = pd.concat(pd.DataFrame({"emotion": name, "latent": own}) for name, own in chosen.items())
    ranks = ranks.assign(rank=[1, 2, 3, 4] * 2, coefficient=1.0, share=0.1, dense=False)
    index = np.unique(list(chosen.values()))
    return Decomposition(
        method="contrast", k=4, emotions=tuple(chosen), site=SITE, model=model.describe(), sae=sae.name,
        sae_fingerprint=sae.fingerprint, ranks=ranks.reset_index(drop=True), summary=pd.DataFrame(),
        curves=pd.DataFrame(), index=index, rows=sae.directions[index.tolist()].numpy(),
        coefficients=np.ones((2, len(index)), np.float32), vectors=np.ones((2, D), np.float32),
        removed=np.zeros((0, D), np.float32), interval="", provenance={},
    )  # fmt: skip


def pair(**changes: Any) -> dict[str, Any]:
    """Two texts of which the source has the mark."""
    made = {
        "id": "p", "family": "f", "source": f"the m{MARK}n ran on", "target": "the mzn ran on", "source_answer": "a",
        "target_answer": "e", "source_emotion": "sad", "target_emotion": "calm",
    }  # fmt: skip
    return made | changes
