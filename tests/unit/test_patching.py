"""Patching: where the answer must be found in a model whose wiring is known, and which pairs are left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from emovec_sae.errors import ConfigError, CorpusError
from emovec_sae.interventions.patches.alignment import align
from emovec_sae.interventions.patches.result import Patching
from emovec_sae.interventions.patching import patch
from emovec_sae.models.model import Model
from emovec_sae.provenance import read_json

# A row of a batch of nine against a single row: 3e-7 at most here, in logits of order 1.
ROUNDING = 1e-5
SITES = "resid_pre.*,attn_out.*,mlp_out.*,resid_post.*"


def pair(**changes: Any) -> dict[str, str]:
    """Two texts that differ in one letter, which is one token here."""
    made = {
        "id": "p",
        "family": "f",
        "source": "the man ran on",
        "target": "the men ran on",
        "source_answer": "a",
        "target_answer": "e",
    }
    return made | changes


def pairs(*some: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame(list(some))


def margins(model: Model, one: dict[str, str]) -> tuple[float, float]:
    """Logit of the source's answer minus that of the target's, of both plain runs."""
    answers = [model.tokens.encode([one[name]])[0][0] for name in ("source_answer", "target_answer")]
    found = []
    for name in ("source", "target"):
        logits = model.module(input_ids=torch.tensor(model.tokens.encode([one[name]]))).logits[0, -1]
        found.append(float(logits[answers[0]] - logits[answers[1]]))
    return found[0], found[1]


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2", "gpt_neox"])
def test_what_the_wiring_says_must_be_recovered(tiny: Callable[..., Model], architecture: str) -> None:
    model, one = tiny(architecture), pair()
    cells = patch(model, pairs(one), sites=SITES).frame().set_index(["site", "position"])
    source, target = margins(model, one)
    np.testing.assert_allclose(cells["source"], source, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(cells["target"], target, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(cells["recovered"], (cells["patched"] - target) / (source - target), atol=1e-2)
    assert abs(source - target) > 100 * ROUNDING, "these answers tell nothing apart"
    changed, last, top = -9, -1, model.n_layers - 1
    # the last token's state after the last block decides the answer, all of it; no other token's does
    late = cells.loc[f"resid_post.{top}", "patched"]
    assert late[last] == pytest.approx(source, abs=ROUNDING)
    assert late.drop(index=last).to_numpy() == pytest.approx(target, abs=ROUNDING)
    # before the first block only the changed token differs: it brings everything, the others nothing
    first = cells.loc["resid_pre.0", "patched"]
    assert first[changed] == pytest.approx(source, abs=ROUNDING)
    assert first.drop(index=changed).to_numpy() == pytest.approx(target, abs=ROUNDING)
    # the last block's attention and MLP write to the last token what the others cannot read any more
    for stream in ("attn_out", "mlp_out"):
        late = cells.loc[f"{stream}.{top}"]
        assert late["patched"].drop(index=last).to_numpy() == pytest.approx(target, abs=ROUNDING)
        assert abs(late.loc[last, "patched"] - target) > 10 * ROUNDING
    # in between, what a block leaves is what the next one takes
    for layer in range(top):
        after, before = cells.loc[f"resid_post.{layer}", "patched"], cells.loc[f"resid_pre.{layer + 1}", "patched"]
        np.testing.assert_allclose(after, before, rtol=0, atol=ROUNDING)


def test_a_cell_is_what_a_plain_hook_gives(tiny: Callable[..., Model]) -> None:
    model, one = tiny(), pair()
    cells = patch(model, pairs(one), sites="resid_post.1").frame()
    ids = [torch.tensor(model.tokens.encode([one[name]])) for name in ("source", "target")]
    answers = [model.tokens.encode([one[name]])[0][0] for name in ("source_answer", "target_answer")]
    block, kept = model.module.get_submodule("model.layers.1"), []
    handle = block.register_forward_hook(lambda *parts: kept.append(parts[2]))
    model.module(input_ids=ids[0])
    handle.remove()
    for position, patched in zip(cells["position"], cells["patched"], strict=True):

        def put(*parts: Any, position: int = position) -> torch.Tensor:
            found = parts[2].clone()
            found[:, position] = kept[0][:, position]
            return found

        handle = block.register_forward_hook(put)
        logits = model.module(input_ids=ids[1]).logits[0, -1]
        handle.remove()
        assert patched == pytest.approx(float(logits[answers[0]] - logits[answers[1]]), abs=ROUNDING)


def test_positions_and_parts_are_those_of_the_text(tiny: Callable[..., Model]) -> None:
    cells = patch(tiny(), pairs(pair()), sites="resid_post.0").frame()
    assert list(cells["position"]) == list(range(-9, 0))
    assert list(cells["part"]) == ["changed word", "just after", *["between"] * 6, "last token"]
    two = pair(source="the dog ran", target="the cat ran")
    assert list(patch(tiny(), pairs(two), sites="resid_post.0").frame()["part"][:4]) == [
        "changed word",
        "changed word",
        "changed word",
        "just after",
    ]


def test_pairs_that_do_not_align_are_named_with_the_reason(tiny: Callable[..., Model]) -> None:
    table = pairs(
        pair(id="good"),
        pair(id="long", source="the woman ran on"),
        pair(id="same", source="the men ran on"),
        pair(id="many", source_answer="sad", target_answer="e"),
        pair(id="one", target_answer="a"),
        pair(id="also"),
    )
    result = patch(tiny(), table, sites="resid_post.2")
    assert dict(zip(result.skipped["pair"], result.skipped["reason"], strict=True)) == {
        "long": "16 and 14 tokens",
        "same": "source and target are the same",
        "many": "answers of 3 and 1 tokens",
        "one": "both answers begin with the same token",
    }
    assert list(result.frame()["pair"].unique()) == ["good", "also"]
    assert list(patch(tiny(), table, sites="resid_post.2", limit=1).frame()["pair"].unique()) == ["good"]


def test_no_pair_that_aligns_is_an_error(tiny: Callable[..., Model]) -> None:
    with pytest.raises(CorpusError, match="none of 1 pairs aligns on tiny-llama: 16 and 14 tokens"):
        patch(tiny(), pairs(pair(source="the woman ran on")))
    with pytest.raises(CorpusError, match="no pair was given"):
        patch(tiny(), pairs(pair()).iloc[:0])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"what": "latent"}, "cannot patch 'latent'"),
        ({"sites": "resid_post.3"}, "the model has 3 blocks"),
        ({"limit": 0}, "limit is 0"),
        ({"limit": -2}, "limit is -2"),
    ],
)
def test_impossible_options_are_refused(tiny: Callable[..., Model], options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        patch(tiny(), pairs(pair()), **options)


def test_the_map_is_the_ratio_of_means_over_pairs(tiny: Callable[..., Model], tmp_path: Path) -> None:
    words = ["cat", "dog", "man", "hen", "fox"]
    some = [pair(id=word, source=f"the {word} ran", target=f"the {word[::-1]} ran") for word in words]
    steps: list[tuple[int, int]] = []
    result = patch(tiny(), pairs(*some), sites="resid_post.0,resid_post.2", progress=lambda *step: steps.append(step))
    assert steps == [(done, 5) for done in range(1, 6)]
    assert result.provenance["pairs"] == words
    table = result.map(seed=1)
    assert len(table) == 2 * 4
    for row in table.to_dict("records"):
        cells = result.frame().query("site == @row['site'] and part == @row['where']")
        by_pair = cells.groupby("pair")[["patched", "source", "target"]].mean()
        gap = (by_pair["source"] - by_pair["target"]).mean()
        if not np.isnan(row["recovered"]):
            assert row["recovered"] == pytest.approx((by_pair["patched"] - by_pair["target"]).mean() / gap)
            assert row["low"] <= row["recovered"] <= row["high"]
        assert row["n"] == 5
    path = result.save(tmp_path / "patching.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(path), result.frame())
    assert read_json(tmp_path / "patching.json")["provenance"]["what"] == ["residual"]


def test_the_map_finds_the_planted_place() -> None:
    random, rows = np.random.default_rng(0), []
    right = {
        ("resid_post.0", "changed word"): 1.0,
        ("resid_post.0", "last token"): 0.0,
        ("resid_post.9", "changed word"): 0.2,
        ("resid_post.9", "last token"): 0.8,
    }
    for number in range(30):
        for (site, part), share in right.items():
            source, target = 2 + random.normal(0, 0.3), -2 + random.normal(0, 0.3)
            facts = {
                "pair": str(number),
                "family": "f",
                "what": "residual",
                "site": site,
                "layer": int(site[-1]),
                "position": -1,
            }
            patched = target + share * (source - target)
            rows.append({**facts, "part": part, "patched": patched, "source": source, "target": target})
    result = Patching(pd.DataFrame(rows), pd.DataFrame(), {})
    found = {(row["site"], row["where"]): row["recovered"] for row in result.map().to_dict("records")}
    assert found == pytest.approx(right, abs=1e-9)
    best = result.best()
    assert (best["site"], best["where"]) == ("resid_post.0", "changed word")


def test_align_tells_the_changed_span(tiny: Callable[..., Model]) -> None:
    (found,), skipped = align(tiny(), pairs(pair(source="a big dog ran", target="a red cat ran")))
    assert (found.first, found.last) == (2, 8)
    assert [found.part(position) for position in (2, 5, 8, 9, 10, 12)] == [
        "changed word",
        "changed word",
        "changed word",
        "just after",
        "between",
        "last token",
    ]
    assert skipped.empty
    assert list(skipped.columns) == ["pair", "reason"]
