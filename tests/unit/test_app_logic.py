"""The explorer without its page, on a tiny model: mixes, doses, limits, maps, addresses, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from explorer_run import ATTACK, TINY, doses, tiny_run

from emovec_sae.errors import ConfigError, CorpusError, MismatchError, StoreError
from emovec_sae.interventions.arms import latent_arms
from emovec_sae.interventions.edits import ByRow, Steer
from emovec_sae.interventions.patching import patch
from emovec_sae.models.generate import generate
from emovec_sae.models.model import Model
from emovec_sae.provenance import read_json, write_json
from emovec_sae.report.app import doses as app_doses
from emovec_sae.report.app import guard, material, patches
from emovec_sae.report.app.explorer import Explorer
from emovec_sae.report.app.guard import Limit
from emovec_sae.report.app.material import Material
from emovec_sae.report.app.mix import Mix, length, shift

FREE = Limit(1.0, measured=True, said="planted")


@pytest.fixture(scope="module")
def model() -> Model:
    """A tiny model with a head of its own: one with a tied head says the same token for ever."""
    from emovec_sae.testing import tiny_model

    found = tiny_model(seed=1)
    head = torch.randn(found.config.vocab_size, found.d_model, generator=torch.Generator().manual_seed(0))
    found.module.lm_head.weight = torch.nn.Parameter(head, requires_grad=False)
    return found


@pytest.fixture(scope="module")
def run(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("explorer"), model)


@pytest.fixture(scope="module")
def opened(run: Path, model: Model) -> Material:
    return material.join(material._artefacts(run, "tiny"), model)


@pytest.fixture
def explorer(opened: Material) -> Explorer:
    return Explorer(opened, limit=FREE)


def asked(**changed: Any) -> dict[str, Any]:
    return {"prompt": "a river", "emotions": ["e0"], "strengths": [0.1], "k": 4, "tokens": 6, **changed}


def last(items: Any, kind: str) -> dict[str, Any]:
    return [one for one in items if one["kind"] == kind][-1]


# Mixes and doses


def test_one_emotion_is_its_steer_and_its_latents_are_their_arm(opened: Material) -> None:
    mix = Mix.of(opened, ["e0"], [0.3])
    steer = Steer(opened.directions["e0"], strength=0.3)
    np.testing.assert_allclose(shift(opened, mix.raw(opened)).added, steer.added, rtol=1e-5)
    arm = latent_arms(opened.contrast, opened.coder, ["e0"], sizes=(4,))[0].edit
    np.testing.assert_allclose(mix.latents(opened, 4), 0.3 * arm.unit, rtol=1e-5, atol=1e-7)


def test_a_mix_is_the_sum_of_its_parts(opened: Material) -> None:
    mix = Mix.of(opened, ["e0", "e1", "e2"], [0.2, -0.1, 0.0])
    units = opened.directions.units.astype(np.float64)
    np.testing.assert_allclose(mix.raw(opened), 0.2 * units[0] - 0.1 * units[1], rtol=1e-6)
    parts = mix.parts(opened, 4)
    rows = opened.coder.directions.double().numpy()
    total = sum(part["amount"] * rows[part["latent"]] for part in parts)
    np.testing.assert_allclose(total, mix.latents(opened, 4), rtol=1e-5, atol=1e-7)
    sizes = [abs(part["amount"]) for part in parts]
    assert sizes == sorted(sizes, reverse=True)
    assert shift(opened, Mix.of(opened, ["e0"], [0.0]).raw(opened)) is None


@pytest.mark.parametrize(
    ("emotions", "strengths", "said"),
    [
        (["e9"], [0.1], "no direction for 'e9'"),
        (["e0", "e0"], [0.1, 0.1], "'e0' is in the mix twice"),
        (["e0"], [], "1 emotions were given with 0 strengths"),
        (["e0"], [float("inf")], "must be a number"),
        (["e0"] * 7, [0.1] * 7, "at most 6"),
    ],
)
def test_impossible_mixes_are_refused(opened: Material, emotions: list[str], strengths: list[float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Mix.of(opened, emotions, strengths)


def test_the_runs_calibration_is_inverted() -> None:
    # planted: KL is the strength's square for raw, and latents need twice the strength
    found = app_doses.from_run(doses("e0"), "e0", 4, 0.1)
    assert found is not None
    assert found.latents == pytest.approx(0.2)
    assert found.kl == pytest.approx(0.01)
    between = app_doses.from_run(doses("e0"), "e0", 4, 0.08)
    assert between is not None
    assert (between.kl, between.latents) == (pytest.approx(0.0064), pytest.approx(0.16))
    for emotion, k, strength in (("e0", 4, 0.3), ("e0", 4, 0.01), ("e0", 3, 0.1), ("e1", 4, 0.1)):
        assert app_doses.from_run(doses("e0"), emotion, k, strength) is None


def test_other_mixes_are_matched_by_a_measurement(opened: Material) -> None:
    matcher = app_doses.Matcher(opened)
    mix = Mix.of(opened, ["e0", "e1"], [0.2, -0.1])
    found = matcher.match(mix, 4)
    assert found.how == "measured"
    latents = mix.latents(opened, 4)
    kls = [
        matcher.probe().kl([shift(opened, vector)])
        for vector in (mix.raw(opened), latents * found.latents / length(latents))
    ]
    assert kls[0] == pytest.approx(found.kl)
    assert kls[1] == pytest.approx(kls[0], rel=app_doses.TOLERANCE)
    assert matcher.match(Mix.of(opened, ["e0"], [0.1]), 4).how == "run"


def test_the_length_of_a_mix_is_told_before_it_is_written(explorer: Explorer, opened: Material) -> None:
    found = explorer.length({"emotions": "e0,e1", "strengths": "0.2,0.1"})
    units = opened.directions.units
    assert found == {"length": pytest.approx(float(np.linalg.norm(0.2 * units[0] + 0.1 * units[1]))), "refused": []}
    assert explorer.length({"emotions": "e9", "strengths": "1"})["refused"]


# The limit


def test_the_limit_is_the_one_measured_or_a_default_that_says_why(opened: Material, tmp_path: Path) -> None:
    elsewhere = replace(opened, path=tmp_path)
    found = guard.limit_of(elsewhere)
    assert (found.strength, found.measured) == (0.2, False)  # the strongest planted dose
    assert "--measure" in found.said
    none = guard.limit_of(replace(elsewhere, doses=opened.doses.head(0)))
    assert none.strength == guard.CAUTIOUS
    steps: list[tuple[int, int]] = []
    measured = guard.measure_limit(elsewhere, progress=lambda *step: steps.append(step))
    assert steps[-1][0] == steps[-1][1]
    assert measured.measured
    assert measured == guard.limit_of(elsewhere), "it is not kept beside the run"
    path = tmp_path / guard.FILE
    told = read_json(path)
    write_json(path, {**told, "belongs": {**told["belongs"], "directions": "others"}})
    assert "is of other directions" in guard.limit_of(elsewhere).said
    path.write_text("{")
    assert "is damaged" in guard.limit_of(elsewhere).said


def test_the_limit_is_where_half_of_the_texts_are_lost(opened: Material, tmp_path: Path) -> None:
    import pandas as pd

    from emovec_sae.interventions.breakdown import Breakdown

    def cells(lost: dict[float, str]) -> Breakdown:
        rows = [
            {"edit": "e0", "dose": dose, "prompt": prompt, "text": "t", "tokens": 3, "repeated": 0.0, "surprise": 1.0,
             "regime": regime}
            for dose, regime in lost.items()
            for prompt in range(4)
        ]  # fmt: skip
        return Breakdown(pd.DataFrame(rows), {})

    elsewhere = replace(opened, path=tmp_path)
    clean = guard._keep(elsewhere, cells({0.0: "clean", 0.2: "clean", 0.4: "repetitive", 0.8: "collapsed"}), 4)
    assert clean.strength == 0.3  # half way between the last clean dose and the first lost one
    # a model that repeats itself without any edit is held to its collapse
    dull = guard._keep(elsewhere, cells({0.0: "repetitive", 0.2: "repetitive", 0.4: "repetitive", 0.8: "collapsed"}), 4)
    assert dull.strength == pytest.approx(0.6, abs=0.011)
    assert "collapsed" in dull.said
    sturdy = guard._keep(elsewhere, cells({0.0: "clean", 1.2: "clean"}), 4)
    assert sturdy.strength == 1.2


def test_beyond_the_limit_needs_the_tick(opened: Material) -> None:
    explorer = Explorer(opened, limit=Limit(0.2, measured=True, said="planted"))
    for beyond, strength, said in ((False, 0.3, "tick 'go beyond"), (True, 0.9, "even with the tick")):
        with pytest.raises(ConfigError, match=said):
            next(explorer.answers(asked(strengths=[strength], beyond=beyond)))
    assert next(explorer.answers(asked(strengths=[0.3], beyond=True)))["kind"] == "dose"
    assert next(explorer.answers(asked(strengths=[-0.2])))["raw"] == pytest.approx(0.2)


# Answers


def test_the_answers_are_those_of_generate(explorer: Explorer, opened: Material) -> None:
    items = list(explorer.answers(asked()))
    assert [one["kind"] for one in items] == ["dose", "next", *["text"] * 6, "done"]
    steer = Steer(opened.directions["e0"], strength=0.1)
    arm = latent_arms(opened.contrast, opened.coder, ["e0"], sizes=(4,))[0].edit.at(0.2 * opened.norm)
    rows = [None, steer, arm]  # the planted calibration: twice the strength
    right = generate(opened.model, ["a river"] * 3, edits=[ByRow(rows, TINY)], max_new_tokens=6)
    assert last(items, "text")["texts"] == dict(zip(("none", "raw", "latents"), right, strict=True))
    assert last(items, "dose") | {"parts": None} == {
        "kind": "dose", "raw": pytest.approx(0.1), "k": 4, "latents": pytest.approx(0.2), "refused": None,
        "parts": None, "kl": pytest.approx(0.01), "how": "run",
        "said": "matched by the run's calibration on neutral text",
    }  # fmt: skip


def test_the_next_tokens_have_the_models_own_probabilities(explorer: Explorer, opened: Material) -> None:
    found = last(explorer.answers(asked()), "next")
    assert found["arms"] == ["none", "raw", "latents"]
    ids = opened.model.tokens.encode(["a river"])
    with torch.no_grad():
        law = opened.model.module(input_ids=torch.tensor(ids)).logits[0, -1].float().softmax(-1)
    from emovec_sae.report.words import visible

    strings = [visible(token) for token in opened.model.tokens.strings(range(160))]
    for one in found["tokens"]:
        same = [float(share) for token, share in zip(strings, law, strict=True) if token == one["token"]]
        assert any(one["shares"][0] == pytest.approx(share, rel=1e-3) for share in same)
    assert max(one["shares"][0] for one in found["tokens"]) == pytest.approx(float(law.max()), rel=1e-3)


def test_an_emotion_without_latents_still_answers_raw(explorer: Explorer) -> None:
    items = list(explorer.answers(asked(emotions=["e2"])))
    assert "was not decomposed" in items[0]["refused"]
    assert set(last(items, "text")["texts"]) == {"none", "raw"}
    nothing = list(explorer.answers(asked(emotions=[], strengths=[])))
    assert set(last(nothing, "text")["texts"]) == {"none"}


def test_only_the_arms_that_are_wanted_are_written(explorer: Explorer, opened: Material) -> None:
    items = list(explorer.answers(asked(arms=["raw"])))
    right = generate(opened.model, "a river", edits=[Steer(opened.directions["e0"], strength=0.1)], max_new_tokens=6)
    assert last(items, "text")["texts"] == {"raw": right[0]}
    with pytest.raises(ConfigError, match="nothing to write: of the arms none, raw choose at least one"):
        list(explorer.answers(asked(emotions=["e2"], arms=["latents"])))


def test_what_was_drawn_is_decided_by_the_seed(explorer: Explorer) -> None:
    texts = [last(explorer.answers(asked(temperature=1.0, seed=seed)), "text")["texts"] for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"prompt": " \n"}, CorpusError, "the prompt is empty"),
        ({"prompt": "a" * 10_000}, CorpusError, "10,000 characters; at most 2,000"),
        ({"tokens": 500}, ConfigError, "tokens: input should be less than or equal to 200, got '500'"),
        ({"seed": None}, ConfigError, "seed: input should be a valid integer"),
        ({"k": 30}, None, "holds 1 to 8 latents"),
        ({"temprature": 1}, ConfigError, r"unknown field 'temprature' \(did you mean 'temperature'\?\)"),
    ],
)
def test_impossible_answers_are_refused_in_one_line(
    explorer: Explorer, changed: dict[str, Any], error: type[Exception] | None, said: str
) -> None:
    if error is None:  # the raw directions still answer
        assert next(explorer.answers(asked(**changed)))["refused"]
        return
    with pytest.raises(error, match=said) as caught:
        list(explorer.answers(asked(**changed)))
    assert "\n" not in str(caught.value)


# Maps of texts, latents, patching


def test_the_map_of_an_emotion_is_its_readout_at_each_token(explorer: Explorer, opened: Material) -> None:
    text = f"a river {ATTACK} and  a lamp."
    (found,) = explorer.heat({"text": text, "emotion": "e1"})
    assert "".join(found["pieces"]) == text
    assert found["values"][0] is None, "the first token is a sink"
    from emovec_sae.models.seam import forward
    from emovec_sae.models.tokens import pad

    batch = pad(opened.model.tokens.encode([text]), pad_id=0)
    states = forward(opened.model, batch, read=[TINY]).values[TINY][0].numpy()
    mean = opened.directions.stats.mean
    unit = opened.directions["e1"].unit
    right = [(h - mean) @ unit / np.linalg.norm(h - mean) for h in states]
    np.testing.assert_allclose(found["values"][1:], right[1:], rtol=1e-4, atol=1e-6)
    assert found["largest"] == pytest.approx(max(map(abs, right[1:])), rel=1e-4)
    plain = explorer.heat({"text": text, "emotion": "e1", "readout": "dot"})
    np.testing.assert_allclose(next(iter(plain))["values"][1:], states[1:] @ unit, rtol=1e-4, atol=1e-5)


def test_the_map_of_a_latent_is_its_activation(explorer: Explorer, opened: Material) -> None:
    text = "stone river lamp paper window"
    (found,) = explorer.heat({"text": text, "latent": 3})
    states = explorer.texts.read(text).states
    np.testing.assert_allclose(found["values"][1:], opened.coder.encode(states)[1:, 3].numpy(), rtol=1e-6)
    top = found["whole"]["latents"][0]
    peaks = opened.coder.encode(states[1:]).amax(0)
    kept = opened.contrast.firing_rate <= 0.1
    assert top["value"] == pytest.approx(float(peaks[torch.from_numpy(kept)].max()))


@pytest.mark.parametrize(
    ("body", "error", "said"),
    [
        ({"text": "", "emotion": "e0"}, CorpusError, "the text is empty"),
        ({"text": "a" * 10_000, "emotion": "e0"}, CorpusError, "10,000 characters; at most 4,000"),
        ({"text": "a", "emotion": "e0"}, CorpusError, "one token only"),
        ({"text": "a" * 300, "emotion": "e0"}, CorpusError, "300 tokens; tiny-llama reads at most 256"),
        ({"text": "a river", "emotion": "e9"}, ConfigError, "no direction for 'e9'"),
        ({"text": "a river", "latent": 48}, ConfigError, "no latent 48; the SAE has 0 to 47"),
        ({"text": "a river", "latent": -1}, ConfigError, "no latent -1"),
        ({"text": "a river"}, ConfigError, "an emotion or a latent"),
        ({"text": "a river", "emotion": "e0", "readout": "zscor"}, ConfigError, "did you mean 'zscore'"),
        ({"text": "a river", "emotion": "e0", "readout": "batch_centred"}, ConfigError, "choose another readout"),
        ("text", ConfigError, "a request is a JSON object"),
    ],
)
def test_impossible_maps_are_refused(explorer: Explorer, body: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        list(explorer.heat(body))


def test_a_dashboard_tells_what_the_files_hold(explorer: Explorer, opened: Material) -> None:
    kept = next(iter(opened.cards))
    (found,) = explorer.latent(kept)
    assert found["passages"][0]["pieces"][2] == f" {ATTACK}"
    assert found["passages"][0]["largest"] == 3.0
    ranks = opened.contrast.frame()
    own = ranks[ranks["latent"] == kept]
    assert {one["emotion"]: one["share"] for one in found["emotions"]} == dict(
        zip(own["emotion"], own["share"], strict=True)
    )
    assert found["firing_rate"] == pytest.approx(float(opened.contrast.firing_rate[kept]))
    logits = opened.model.unembedding() @ opened.coder.directions[kept]
    from emovec_sae.report.words import visible

    assert found["up"][0] == visible(opened.model.tokens.strings([int(logits.argmax())])[0])
    other = next(one for one in range(48) if one not in opened.cards)
    assert next(iter(explorer.latent(other)))["kept"] is False
    with pytest.raises(ConfigError, match="no latent 48"):
        list(explorer.latent(48))


PAIR = {"source": "He was sad and", "target": "He was mad and", "source_answer": "x", "target_answer": "y"}


def cells(items: list[dict[str, Any]]) -> dict[tuple[int, int], float]:
    found = [cell for one in items if one["kind"] == "cells" for cell in one["cells"]]
    return {(layer, token): value for layer, token, value in found}


def test_the_map_of_two_sentences_is_that_of_patch(explorer: Explorer, opened: Material) -> None:
    import pandas as pd

    items = list(explorer.patch(PAIR))
    pair = items[0]
    assert (pair["align"], pair["answers"], pair["chosen"]) == ("token", ["x", "y"], False)
    assert "".join(place["text"] for place in pair["places"]) == "mad and"
    assert [place["text"] for place in pair["places"] if place["changed"]] == ["m"]
    frame = pd.DataFrame([{"id": "a", "family": "f", **PAIR}])
    right = patch(opened.model, frame, sites="resid_post.*").frame()
    wanted = {(int(row.layer), int(row.position) + len(PAIR["target"])): row.recovered for row in right.itertuples()}
    assert cells(items) == pytest.approx(wanted)
    moved = list(explorer.patch({**PAIR, "what": "mlp_out"}))
    assert cells(moved) != cells(items)


def test_unequal_sentences_are_aligned_around_what_differs_or_refused(explorer: Explorer) -> None:
    items = list(explorer.patch({**PAIR, "source": "He was happy and"}))
    assert items[0]["align"] == "span"
    assert [place["text"] for place in items[0]["places"]] == ["mad", " ", "a", "n", "d"]
    assert {token for _, token in cells(items)} == {place["token"] for place in items[0]["places"]}
    with pytest.raises(CorpusError, match=r"cannot be patched: texts of unequal length that differ up to the end"):
        list(explorer.patch({**PAIR, "source": "He was happy", "target": "He was mad"}))


def test_answers_left_empty_are_chosen_by_the_model(explorer: Explorer, opened: Material) -> None:
    items = list(explorer.patch({**PAIR, "source_answer": "", "target_answer": ""}))
    assert items[0]["chosen"]
    laws = [
        opened.model.module(input_ids=torch.tensor(opened.model.tokens.encode([PAIR[one]])))
        .logits[0, -1]
        .log_softmax(-1)
        for one in ("source", "target")
    ]
    gap = (laws[0] - laws[1]).detach()
    chosen = patches._chosen(opened.model, PAIR["source"], PAIR["target"])
    tokens = [opened.model.tokens.encode([one], special=False)[0] for one in chosen]
    assert [len(one) for one in tokens] == [1, 1]
    strings = opened.model.tokens.strings(range(160))
    whole = [
        one for one in range(160)
        if strings[one].strip() and opened.model.tokens.encode([strings[one]], special=False)[0] == [one]
    ]  # fmt: skip
    for (token,), law, sign in zip(tokens, laws, (1, -1), strict=True):
        likely = [one for one in law.topk(20).indices.tolist() if one in whole]
        assert sign * gap[token] == max(sign * gap[one] for one in likely)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"target": PAIR["source"]}, "the two sentences are the same"),
        ({"source": ""}, "the first sentence is empty"),
        ({"target": "a" * 301}, "the second sentence has 301 characters; at most 300"),
        ({"source_answer": ""}, "give both answers, or none"),
        ({"source_answer": "xyz"}, "the answer 'xyz' is several tokens"),
        ({"source_answer": "y"}, "both answers begin with the same token"),
        ({"what": "everything"}, "what: input should be"),
    ],
)
def test_impossible_pairs_are_refused(explorer: Explorer, changed: dict[str, str], said: str) -> None:
    with pytest.raises((ConfigError, CorpusError), match=said):
        list(explorer.patch({**PAIR, **changed}))


# Addresses and runs


def test_an_address_is_restored(explorer: Explorer) -> None:
    query = {
        "view": "patch", "emotions": "e0,e2", "strengths": "0.15,-0.05", "k": "4", "prompt": "Hello?", "seed": "7",
        "tokens": "12", "temperature": "0.7", "text": ATTACK, "read": "e1", "latent": "5", "source": "a", "target": "b",
        "what": "mlp_out", "source_answer": "",
    }  # fmt: skip
    found = explorer.state(query)
    assert found["refused"] == []
    right = {**query, "emotions": ("e0", "e2"), "strengths": (0.15, -0.05), "k": 4, "seed": 7, "tokens": 12}
    assert found["state"] == {**right, "temperature": 0.7, "latent": 5, "target_answer": ""}
    assert explorer.state({})["state"] == explorer.start().plain()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"emotions": "e0,e9", "strengths": "0.1,0.1"}, "no direction for 'e9'"),
        ({"emotions": "e0", "strengths": "much"}, "'much'; it must be a number"),
        ({"emotions": "e0", "strengths": "nan"}, "must be a number"),
        ({"emotions": "e0"}, "1 emotions were given with 0 strengths"),
        ({"k": "0"}, "k in the address is '0'; it must be a whole number"),
        ({"seed": "-1"}, "seed in the address is '-1'"),
        ({"seed": "²"}, "must be a whole number"),
        ({"temperature": "9"}, "from 0 to 2"),
        ({"tokens": "201"}, "1 to 200"),
        ({"view": "pach"}, "did you mean 'patch'"),
        ({"latent": "48"}, "no latent 48"),
        ({"read": "e9"}, "no direction for 'e9'"),
        ({"text": "a" * 10_000}, "10,000 characters"),
        ({"promt": "x"}, r"no 'promt' \(did you mean 'prompt'"),
    ],
)
def test_what_is_wrong_in_an_address_is_named_and_the_rest_kept(
    explorer: Explorer, query: dict[str, str], said: str
) -> None:
    import re

    found = explorer.state({**query, "source": "kept"})
    assert len(found["refused"]) == 1
    assert re.search(said, found["refused"][0])
    assert found["state"] == {**explorer.start().plain(), "source": "kept"}


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, run: Path) -> None:
    with pytest.raises(StoreError, match="there is no run at"):
        material.open_material(tmp_path)
    (tmp_path / "study.json").write_text('{"study": {}}')
    with pytest.raises(StoreError, match=r"directions\.safetensors' is missing; finish the run"):
        material.open_material(tmp_path)
    (tmp_path / "study.json").write_text("[]")
    with pytest.raises(StoreError, match="is no study of a run"):
        material.open_material(tmp_path)


def test_another_model_is_refused(opened: Material, tiny: Callable[..., Model]) -> None:
    with pytest.raises(MismatchError, match="these directions come from"):
        material.join(opened, tiny(seed=3))
