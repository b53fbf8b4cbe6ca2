"""Exact patching beside a loop with plain forward hooks: the whole model for every cell, nothing shared or skipped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from emovec_sae.interventions.edits import PatchResidual
from emovec_sae.interventions.patches.alignment import align
from emovec_sae.interventions.patches.exact import plain_runs
from emovec_sae.interventions.patching import patch
from emovec_sae.models.gradient_map import gradient_map
from emovec_sae.models.model import Model
from emovec_sae.models.seam import forward
from emovec_sae.models.tokens import Batch
from emovec_sae.sites import Site
from tests.unit.patching_planted import directions, planted

# Equal bits with one thread here; with more, a row of a batch may be summed in another order than a single run: 3e-7 of
# a margin of order 1 in float32, a step or two (0.008) in bfloat16, each with room for other processors.
TOLERANCE = {"float32": 1e-5, "bfloat16": 0.04}
SITES = "resid_pre.1,attn_out.*,mlp_out.*,resid_post.*"
PAIRS = (
    {"id": "1", "family": "f", "source": "the man ran on", "target": "the men ran on"},
    {"id": "2", "family": "g", "source": "a cold rain fell", "target": "a warm sun fell."},
)
ANSWERS = {"source_answer": "a", "target_answer": "e", "source_emotion": "sad", "target_emotion": "calm"}


def pairs() -> pd.DataFrame:
    return pd.DataFrame([one | ANSWERS for one in PAIRS])


def at(model: Model, site: str, act: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """A plain hook that replaces the stream at a site by a function of it."""
    place = Site.parse(site)
    module = model.module.get_submodule(model.blocks.path(place))
    if place.stream == "resid_pre":
        return module.register_forward_pre_hook(lambda _, given: (act(given[0]), *given[1:]))

    def put(*parts: Any) -> Any:
        whole = isinstance(parts[-1], tuple)
        new = act(parts[-1][0] if whole else parts[-1])
        return (new, *parts[-1][1:]) if whole else new

    return module.register_forward_hook(put)


def naive(
    model: Model, row: dict[str, Any], cells: pd.DataFrame, part: Any = None, *, noise: bool = False
) -> list[float]:
    """The margin of each cell: record the one text at the site, patch the other, run it all."""
    texts = [row["target"], row["source"]] if noise else [row["source"], row["target"]]
    giver, taker = (torch.tensor(model.tokens.encode([one])) for one in texts)
    ids = [model.tokens.encode([row[name]])[0][0] for name in ("source_answer", "target_answer")]
    found = []
    for site, position in zip(cells["site"], cells["position"], strict=True):
        kept: list[torch.Tensor] = []
        handle = at(model, site, lambda value, kept=kept: kept.append(value) or value)
        model.module(input_ids=giver)
        handle.remove()

        def put(value: torch.Tensor, kept: list[torch.Tensor] = kept, at: int = position) -> torch.Tensor:
            new = value.clone()
            source, target = kept[0][0, at], value[0, at]
            new[0, at] = source if part is None else target + part(source[None])[0] - part(target[None])[0]
            return new

        handle = at(model, site, put)
        logits = model.module(input_ids=taker).logits[0, -1].float()
        handle.remove()
        found.append(float(logits[ids[0]] - logits[ids[1]]))
    return found


@pytest.mark.parametrize(
    ("architecture", "dtype"),
    [("llama", "float32"), ("llama", "bfloat16"), ("gemma3", "float32"), ("gpt2", "float32"), ("gpt_neox", "float32")],
)
@pytest.mark.parametrize("mode", ["denoise", "noise"])
def test_every_cell_is_what_a_hook_gives(tiny: Callable[..., Model], architecture: str, dtype: str, mode: Any) -> None:
    model = tiny(architecture, dtype=dtype)
    cells = patch(model, pairs(), sites=SITES, mode=mode).frame()
    with torch.no_grad():
        for row in pairs().to_dict("records"):
            own = cells[cells["pair"] == row["id"]].iloc[::3]
            expected = naive(model, row, own, noise=mode == "noise")
            np.testing.assert_allclose(own["patched"], expected, rtol=0, atol=TOLERANCE[dtype])


def test_parts_of_the_state_are_what_their_definitions_say() -> None:
    known = planted()
    model, sae, written = known.model, known.sae, torch.from_numpy(known.written)

    def latents(h: torch.Tensor) -> torch.Tensor:
        return sae.encode(h)[:, [0, 1, 2]] @ sae.directions[[0, 1, 2]]

    parts = {"direction": lambda h: (h @ written)[:, None] * written, "k=3": latents}
    row = {"id": "p", "family": "f", "source": "the mxn ran", "target": "the mzn ran"} | ANSWERS
    found = patch(
        model, pd.DataFrame([row]), what=["direction", "latents"], directions=directions(known), sae=sae,
        decomposition=known.parts, k=3,
    ).frame()  # fmt: skip
    with torch.no_grad():
        for what, part in parts.items():
            own = found[found["what"] == what]
            np.testing.assert_allclose(own["patched"], naive(model, row, own, part), rtol=0, atol=1e-5)
    assert np.ptp(found["patched"]) > 0.5


def test_a_span_is_all_its_tokens_at_once(tiny: Callable[..., Model]) -> None:
    model, row = tiny(), PAIRS[1] | ANSWERS
    (pair,), _ = align(model, pd.DataFrame([row]))
    cells = patch(model, pd.DataFrame([row]), sites="resid_post.*", positions="spans").frame()
    ids = [torch.tensor(model.tokens.encode([row[name]])) for name in ("source", "target")]
    batches = [Batch(one, torch.ones_like(one, dtype=torch.bool)) for one in ids]
    for cell in cells.to_dict("records"):
        site = Site.parse(cell["site"])
        where = torch.tensor(
            [[one >= pair.first and pair.part(one) == cell["part"] for one in range(len(pair.target))]]
        )
        edit = PatchResidual(forward(model, batches[0], read=[site]).values[site], where, site)
        final = forward(model, batches[1], edits=[edit], final=True).final
        logits = model.head(final[:, -1])[0]
        expected = float(logits[pair.answers[0]] - logits[pair.answers[1]])
        assert cell["patched"] == pytest.approx(expected, abs=TOLERANCE["float32"])


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2", "gpt_neox"])
def test_the_gradient_map_is_the_slope_of_small_patches(tiny: Callable[..., Model], architecture: str) -> None:
    model, sites = (
        tiny(architecture),
        [Site(stream, 1) for stream in ("resid_pre", "attn_out", "mlp_out", "resid_post")],
    )
    ids = torch.tensor(model.tokens.encode([PAIRS[0]["target"]]))
    batch = Batch(ids, torch.ones_like(ids, dtype=torch.bool))

    def score(final: torch.Tensor) -> torch.Tensor:
        logits = model.head(final[:, -1])
        return logits[:, 5] - logits[:, 9]

    slopes = gradient_map(model, batch, [*sites, Site("resid_pre", 0)], score)
    states, random = forward(model, batch, read=sites).values, torch.Generator().manual_seed(0)
    everywhere = torch.ones_like(batch.mask)
    for site in sites:
        step = torch.randn(states[site].shape, generator=random)
        step *= 1e-3 / step.norm()
        ends = []
        for sign in (1, -1):
            edit = PatchResidual(states[site] + sign * step, everywhere, site)
            with torch.no_grad():
                ends.append(float(score(forward(model, batch, edits=[edit], final=True).final)))
        promised = float((slopes[site] * step).sum())
        # float32 margins of order 1 differ in the seventh digit: 2e-6 of a difference of 1e-3 and more
        assert (ends[0] - ends[1]) / 2 == pytest.approx(promised, rel=0.03, abs=5e-6)
    assert slopes[Site("resid_pre", 0)].shape == states[sites[0]].shape


def test_the_plain_runs_give_both_margins(tiny: Callable[..., Model]) -> None:
    model = tiny()
    (pair,), _ = align(model, pairs().iloc[:1])
    runs = plain_runs(model, pair, [])
    for ids, expected in ((pair.source, runs.m_source), (pair.target, runs.m_target)):
        logits = model.module(input_ids=torch.tensor([ids])).logits[0, -1]
        assert float(logits[pair.answers[0]] - logits[pair.answers[1]]) == pytest.approx(expected, abs=1e-5)
