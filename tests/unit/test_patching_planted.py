"""Patching on a model whose answer is known: where the feeling is written, what carries it, and what does not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from emovec_sae.charts import carriers
from emovec_sae.errors import ConfigError, CorpusError, MismatchError
from emovec_sae.interventions.edits import Ablate
from emovec_sae.interventions.patches import exact
from emovec_sae.interventions.patches.result import Patching
from emovec_sae.interventions.patching import patch
from emovec_sae.models.seam import forward
from emovec_sae.models.tokens import pad
from emovec_sae.sites import Site
from emovec_sae.testing import tiny_model
from tests.unit.patching_planted import MARK, SITE, directions, pair, planted

EVERYWHERE = "resid_pre.*,attn_out.*,mlp_out.*,resid_post.*"
CHANGED, LAST = -9, -1
# float32 through three blocks: 2e-6 at most here, in fractions of a margin of about 4.
ROUNDING = 1e-4


@pytest.fixture(scope="module")
def known() -> SimpleNamespace:
    return planted()


def run(known: SimpleNamespace, *some: dict[str, Any], **options: Any) -> Patching:
    return patch(known.model, pd.DataFrame(list(some) or [pair()]), **options)


def recovered(found: Patching, what: str = "residual") -> dict[tuple[str, int], float]:
    cells = found.frame().query("what == @what")
    return dict(zip(zip(cells["site"], cells["position"], strict=True), cells["recovered"], strict=True))


def test_the_residual_is_found_where_the_wiring_puts_it(known: SimpleNamespace) -> None:
    found = recovered(run(known, sites=EVERYWHERE))
    full = {("resid_pre.0", CHANGED), ("resid_post.0", CHANGED), ("resid_pre.1", CHANGED), ("mlp_out.1", CHANGED)}
    full |= {("resid_post.1", CHANGED), ("resid_pre.2", CHANGED), ("attn_out.2", LAST), ("resid_post.2", LAST)}
    assert {cell for cell, value in found.items() if abs(value - 1) < ROUNDING} == full
    assert {cell for cell, value in found.items() if abs(value) < ROUNDING} == set(found) - full


def test_noise_takes_away_at_the_same_places(known: SimpleNamespace) -> None:
    here, there = (run(known, sites=EVERYWHERE, mode=mode) for mode in ("denoise", "noise"))
    assert recovered(here) == pytest.approx(recovered(there), abs=ROUNDING)
    for column in ("source", "target"):
        np.testing.assert_allclose(here.frame()[column], there.frame()[column], rtol=0, atol=1e-6)
    # where all is recovered the patched margin is the other text's, whichever way round
    both = here.frame().merge(there.frame(), on=["site", "position"], suffixes=("", "_noise"))
    whole = both[(both["recovered"] - 1).abs() < ROUNDING]
    np.testing.assert_allclose(whole["patched"], whole["source"], rtol=0, atol=1e-3)
    np.testing.assert_allclose(whole["patched_noise"], whole["target"], rtol=0, atol=1e-3)


def test_direction_subspace_and_latents_carry_what_was_planted(known: SimpleNamespace) -> None:
    found = run(
        known, what=["residual", "direction", "subspace", "latents", "random_direction", "random_latents"],
        sites=str(SITE), directions=directions(known), sae=known.sae, decomposition=known.parts, k=[1, 3],
    )  # fmt: skip
    at = {what: recovered(found, what)[(str(SITE), CHANGED)] for what in found.whats}
    assert found.whats == [
        "residual", "direction", "subspace", "k=1", "k=3", "random direction", "random, k=1", "random, k=3",
    ]  # fmt: skip
    for what in ("residual", "direction", "subspace", "k=3"):
        assert at[what] == pytest.approx(1, abs=ROUNDING)
    assert 0.3 < at["k=1"] < 0.9  # the first of three holds 1 / 1.65 of the squared length
    # a random direction in 32 dimensions overlaps by chance; latents that nothing reads only change the norm a little
    assert abs(at["random direction"]) < 0.3
    assert abs(at["random, k=1"]) < 0.02
    assert abs(at["random, k=3"]) < 0.02
    for what in found.whats:
        assert recovered(found, what)[(str(SITE), LAST)] == pytest.approx(0, abs=ROUNDING)


def test_the_wrong_emotion_and_the_site_before_the_writing_carry_nothing(known: SimpleNamespace) -> None:
    wrong = run(known, what=["direction", "latents"], directions=directions(known), sae=known.sae,
                decomposition=known.parts, k=1, emotion="calm")  # fmt: skip
    assert np.abs(wrong.frame()["recovered"]).max() < 0.02
    early = run(known, what="direction", directions=directions(known, Site("resid_post", 0)))
    assert set(early.frame()["site"]) == {"resid_post.0"}
    assert np.abs(early.frame()["recovered"]).max() < ROUNDING


def test_streams_of_the_blocks_that_sites_name(known: SimpleNamespace) -> None:
    found = run(known, what=["residual", "attn_out", "mlp_out"], sites="resid_post.1-2")
    assert found.provenance["patched"] == {
        "residual": ["resid_post.1", "resid_post.2"], "attn_out": ["attn_out.1", "attn_out.2"],
        "mlp_out": ["mlp_out.1", "mlp_out.2"],
    }  # fmt: skip
    assert recovered(found, "mlp_out")[("mlp_out.1", CHANGED)] == pytest.approx(1, abs=ROUNDING)
    assert recovered(found, "attn_out")[("attn_out.2", LAST)] == pytest.approx(1, abs=ROUNDING)


def test_ablation_removes_what_patching_found(known: SimpleNamespace) -> None:
    texts = known.model.tokens.encode([pair()["source"], pair()["target"]])
    batch = pad(texts, pad_id=known.model.tokens.pad_id)
    answers = [known.model.tokens.encode([one])[0][0] for one in "ae"]
    gaps = []
    for edits in ([], [Ablate(known.written[None], SITE)], [Ablate(np.eye(32, dtype=np.float32)[23:24], SITE)]):
        logits = known.model.head(forward(known.model, batch, edits=edits, final=True).final[:, -1]).detach()
        margins = logits[:, answers[0]] - logits[:, answers[1]]
        gaps.append(float(margins[0] - margins[1]))
    assert gaps[0] > 1
    assert abs(gaps[1]) < 1e-5 * gaps[0]
    assert gaps[2] == pytest.approx(gaps[0])


def test_latents_of_ones_own_choice(known: SimpleNamespace) -> None:
    chosen = run(known, what=["latents", "random_latents"], sae=known.sae, latents=[0, 1, 2])
    assert recovered(chosen, "k=3")[(str(SITE), CHANGED)] == pytest.approx(1, abs=ROUNDING)
    other = run(known, what="latents", sae=known.sae, latents=[9, 10])
    assert abs(recovered(other, "k=2")[(str(SITE), CHANGED)]) < 0.02


def test_spans_and_named_places(known: SimpleNamespace) -> None:
    spans = run(known, positions="spans", sites=EVERYWHERE).frame()
    assert list(spans["part"].unique()) == ["changed word", "just after", "between", "last token"]
    assert len(spans) == 4 * 12
    at = spans.set_index(["site", "part"])["recovered"]
    assert at[("resid_post.1", "changed word")] == pytest.approx(1, abs=ROUNDING)
    assert at[("resid_post.1", "between")] == pytest.approx(0, abs=ROUNDING)
    named = run(known, positions=["last token", "changed word"], sites="resid_post.2").frame()
    assert list(named["part"]) == ["last token", "changed word"]
    numbered = run(known, positions=[-1, -9, -12], sites="resid_post.2").frame()
    assert list(numbered["position"]) == [-1, -9]  # the third lies before the changed word
    with pytest.raises(ConfigError, match="none of the positions"):
        run(known, positions=[-12])


def test_uneven_pairs_align_around_the_span(known: SimpleNamespace) -> None:
    uneven = pair(source=f"the {MARK}{MARK}{MARK} ran on", target="the zz ran on")
    with pytest.raises(CorpusError, match="14 and 13 tokens"):
        run(known, uneven)
    found = run(known, uneven, sites="resid_post.1,resid_post.2", align="span")
    cells = recovered(found)
    assert ("resid_post.1", CHANGED) not in cells  # the span is one place, named by its last token
    # the span's two tokens take the mean of three that are alike: two marks in thirteen against three in fourteen
    assert cells[("resid_post.1", -8)] == pytest.approx((2 / 13) / (3 / 14), abs=0.03)  # the last norm bends it by 0.02
    assert cells[("resid_post.2", LAST)] == pytest.approx(1, abs=ROUNDING)
    reasons = run(
        known, pair(id="good"), uneven | {"id": "end", "target": f"the {MARK}"},
        uneven | {"id": "start", "source": f"{MARK}e ran on", "target": "z ran on"}, align="span",
    ).skipped  # fmt: skip
    assert "no token after the difference" in reasons["reason"][0]
    assert "attention sink" in reasons["reason"][1]


def test_an_insertion_is_a_span_with_the_token_after_it(known: SimpleNamespace) -> None:
    found = run(known, pair(source=f"the m{MARK}n ran", target="the mn ran"), sites="resid_post.0", align="span")
    assert list(found.frame()["part"][:2]) == ["changed word", "just after"]
    assert len(found.frame()) == 5  # n, the blank, r, a, n


def test_attribution_is_exact_where_the_model_is_nearly_linear_and_its_agreement_is_told(
    known: SimpleNamespace,
) -> None:
    some = [pair(id=str(i), family="gh"[i % 2], source=f"the {a}{MARK}n ran on", target=f"the {a}zn ran on")
            for i, a in enumerate("bcdfg")]  # fmt: skip
    found = run(known, *some, sites="resid_post.*", method="both")
    cells = found.frame()
    late = cells.query("site == 'resid_post.1' and position == @CHANGED")
    moved, promised = late["patched"] - late["target"], late["attributed"] - late["target"]
    assert (promised / moved).between(0.8, 2.5).all()  # the final norm bends it, no more
    told = found.agreement().set_index("kind")
    assert told.loc["pearson", "value"] > 0.6
    assert told.loc["pearson", "clusters"] == 5
    assert (told["low"] <= told["value"]).all()
    assert set(found.agreement(by="layer")["layer"]) == {0, 1, 2}
    alone = run(known, *some, sites="resid_post.*", method="attribution").frame()
    np.testing.assert_allclose(alone["patched"], cells["attributed"], rtol=0, atol=1e-6)
    with pytest.raises(ConfigError, match="method='both'"):
        run(known).agreement()


def test_shares_families_and_figures(known: SimpleNamespace, tmp_path: Path) -> None:
    some = [pair(id=f"{family}{a}", family=family, source=f"the {a}{MARK}n ran", target=f"the {a}zn ran")
            for family in "pqrs" for a in "bcd"]  # fmt: skip
    found = run(known, *some, what=["residual", "direction", "random_latents"], directions=directions(known),
                sae=known.sae, decomposition=known.parts, k=3, sites="resid_post.*")  # fmt: skip
    shares = found.shares().set_index(["what", "where"])
    assert shares.loc[("direction", "changed word"), "share"] == pytest.approx(1, abs=ROUNDING)
    assert abs(shares.loc[("random latents", "changed word"), "share"]) < 0.02
    assert set(found.map()["clusters"]) == {4}
    assert set(found.map(cluster="pair")["clusters"]) == {12}
    assert found.best()["recovered"] == pytest.approx(1, abs=ROUNDING)
    families = found.by_family()
    assert set(families["family"]) == set("pqrs")
    assert set(families["n"]) == {3}
    spec = found.plot().to_dict()
    assert sum(len(row["hconcat"]) for row in spec["vconcat"]) == 4
    path = found.save(tmp_path / "p.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(path), found.frame())
    assert found.facts()["pairs"] == 12
    with pytest.raises(ConfigError, match="'latents' was not patched"):
        found.shares(of="latents")
    with pytest.raises(ConfigError, match="cluster is 'topic'"):
        found.map(cluster="topic")  # pyright: ignore[reportArgumentType]


def test_whose_emotion(known: SimpleNamespace) -> None:
    some = [pair(id="own"), pair(id="column", emotion="calm"), pair(id="unknown", source_emotion="jealous"),
            pair(id="none", source_emotion=None, family="g")]  # fmt: skip
    options = {"what": "direction", "directions": directions(known)}
    found = run(known, *some, **options)
    assert found.provenance["emotions"] == {"own": "sad", "column": "calm"}
    assert dict(zip(found.skipped["pair"], found.skipped["reason"], strict=True)) == {
        "unknown": "no direction or latents of 'jealous'",
        "none": "no emotion is named for it",
    }
    assert set(run(known, *some, **options, emotion="calm").provenance["emotions"].values()) == {"calm"}
    mapped = run(known, *some, **options, emotion={"g": "calm"})
    assert mapped.provenance["emotions"] == {"none": "calm"}
    assert len(run(known, *some, what=["residual", "direction"], directions=directions(known)).skipped) == 2
    with pytest.raises(CorpusError, match=r"none of 1 pairs can be patched .*no direction or latents of 'jealous'"):
        run(known, some[2], **options)


def test_impossible_requests_are_refused(known: SimpleNamespace) -> None:
    fitted = directions(known)
    latents = {"what": "latents", "sae": known.sae}
    refused: list[tuple[dict[str, Any], str]] = [
        ({"what": []}, "nothing is to be patched"),
        ({"what": ["residual", "residual"]}, "one thing twice"),
        ({"what": "directions"}, "did you mean 'direction'"),
        ({"what": "direction"}, "needs directions"),
        ({"what": "direction", "directions": [fitted, fitted]}, "two sets of directions are of resid_post.1"),
        ({"what": "direction", "directions": fitted, "sites": "resid_post.0"}, "fitted at resid_post.1"),
        ({"what": "direction", "directions": fitted, "emotion": "sadd"}, "did you mean 'sad'"),
        ({"what": "direction", "directions": fitted, "emotion": {"x": "sad"}}, "names the family 'x'"),
        ({"what": "subspace", "directions": fitted, "emotions": ["joy"]}, "no direction for 'joy'"),
        ({"what": "latents"}, "needs an SAE"),
        (latents, "which latents"),
        (latents | {"latents": [32]}, "latent 32 does not exist"),
        (latents | {"latents": []}, "empty list"),
        (latents | {"decomposition": known.parts, "k": 0}, "at least 1"),
        (latents | {"decomposition": known.parts, "k": 9}, "1 to 4 latents|holds 4 latents"),
        ({"mode": "noising"}, "did you mean 'noise'"),
        ({"method": "gradient"}, "must be one of exact"),
        ({"align": "word"}, "token or span"),
        ({"positions": "span"}, "did you mean 'spans'"),
        ({"positions": []}, "empty list"),
        ({"positions": [0]}, "counted from the end"),
        ({"positions": ["end"]}, "unknown part 'end'"),
        ({"positions": ["last token", -1]}, "mixes"),
    ]
    for options, said in refused:
        with pytest.raises(ConfigError, match=said):
            run(known, **options)


def test_what_belongs_to_another_model_or_sae_is_refused(known: SimpleNamespace) -> None:
    pairs, other = pd.DataFrame([pair()]), tiny_model(seed=5)
    with pytest.raises(MismatchError, match="these directions come from"):
        patch(other, pairs, what="direction", directions=directions(known))
    with pytest.raises(MismatchError, match="no decomposition was made with SAE"):
        run(known, what="latents", sae=known.sae, decomposition=replace(known.parts, sae_fingerprint="f" * 64))


def test_a_batch_is_only_a_budget(known: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(known, sites=EVERYWHERE).frame()
    monkeypatch.setattr(exact, "BUDGET", {"cpu": 40, "other": 40})  # two rows at a time
    np.testing.assert_allclose(run(known, sites=EVERYWHERE).frame()["patched"], whole["patched"], rtol=0, atol=1e-5)


def test_the_figure_of_carriers_says_its_numbers_and_refuses_what_it_cannot_draw(known: SimpleNamespace) -> None:
    some = [pair(id=a, source=f"the {a}{MARK}n ran", target=f"the {a}zn ran") for a in "bcd"]
    table = run(known, *some, what=["residual", "attn_out"]).map()
    said = carriers.caption(table)
    assert "n = 3 pairs" in said
    assert "residual: 1.00 at resid_post.0, changed word (1.00 to 1.00); attn_out: 1.00 at attn_out.2" in said
    json.dumps(carriers.carriers(table.assign(low=np.nan, high=np.nan)).to_dict(), allow_nan=False)
    with pytest.raises(ConfigError, match="'head 3' has no style"):
        carriers.carriers(table.assign(what="head 3"))
    many = pd.concat([table.assign(what=f"k={k}") for k in (1, 2, 4, 8, 16)])
    with pytest.raises(ConfigError, match="5 numbers of latents, 4 fit"):
        carriers.carriers(many)


def test_patching_leaves_the_model_as_it_was(known: SimpleNamespace) -> None:
    ids = torch.tensor(known.model.tokens.encode([pair()["target"]]))
    before = known.model.module(input_ids=ids).logits
    run(known, sites=EVERYWHERE, method="both")
    assert torch.equal(before, known.model.module(input_ids=ids).logits)
    assert all(one.grad is None for one in known.model.module.parameters())
