"""Batteries under edits: whole answers are scored as plain rows would be, places cancel, head-room comes first."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from emovec_sae.errors import ConfigError, CorpusError
from emovec_sae.interventions.arms import Arm
from emovec_sae.interventions.behaviour import battery as module
from emovec_sae.interventions.behaviour.battery import behaviour
from emovec_sae.interventions.behaviour.conditions import Condition, match_doses, steering_arms
from emovec_sae.interventions.behaviour.headroom import Headroom
from emovec_sae.interventions.edits import Ablate, Shift
from emovec_sae.models.model import Model
from emovec_sae.models.seam import forward
from emovec_sae.models.tokens import pad
from emovec_sae.scoring import answers
from emovec_sae.scoring.answers import AnswerScorer, Question
from emovec_sae.scoring.choices import forced_choice
from emovec_sae.scoring.questions import letter_questions, whole_questions
from emovec_sae.sites import Site
from tests.unit.patching_planted import READ, planted

SITE = Site("resid_post", 1)


def items(n: int = 24, a: str = "a", b: str = "e") -> pd.DataFrame:
    columns = {
        "id": [f"i{row}" for row in range(n)],
        "battery": "letters",
        "group": [f"g{row // 4}" for row in range(n)],
    }
    columns |= {"kind": ["risky" if row % 2 else "benign" for row in range(n)], "use": "report"}
    return pd.DataFrame(columns | {"prompt": [f"which {row}" for row in range(n)], "answer_a": a, "answer_b": b})


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma3"])
@pytest.mark.parametrize("positions", ["all", "from:3"])
def test_whole_answers_are_scored_as_plain_rows(
    tiny: Callable[..., Model], monkeypatch: pytest.MonkeyPatch, architecture: str, positions: str
) -> None:
    monkeypatch.setattr(answers, "_TOKENS", 300)  # several batches with padding
    model = tiny(architecture)
    first, second = ["yes indeed", "no", "a"], ["not at all", "surely", "bcd"]
    questions = whole_questions(model, ["Well?", "And now, then?", "x"], first, second)
    edit = Shift(np.random.default_rng(0).normal(size=32), site=SITE, coefficient=2.0, positions=positions)
    scorer = AnswerScorer(model, questions, site=SITE)
    for edits in ([], [edit]):
        got = scorer.log_probs(edits)
        for row, question in enumerate(questions):
            for side in (0, 1):
                piece = question.answers[side][0]
                batch = pad([[*question.ids, *piece]], pad_id=0)
                final = forward(model, batch, edits=edits, final=True).final
                law = model.head(final[0, len(question.ids) - 1 : -1]).log_softmax(-1)
                right = float(law.gather(-1, torch.tensor(piece)[:, None]).sum())
                assert got[row, side] == pytest.approx(right, abs=2e-4)  # float32, other sizes of batch: 3e-5 seen
    assert np.abs(scorer.log_probs([edit]) - scorer.log_probs()).max() > 0.01
    assert np.array_equal(scorer.log_probs([edit.at(0.0)]), scorer.log_probs())


def test_letters_agree_with_forced_choice(tiny: Callable[..., Model]) -> None:
    model = tiny("llama")
    first, second = ["sorting names", "reading a map."], ["boiling an egg", "washing cars"]
    edit = Shift(np.random.default_rng(1).normal(size=32), site=SITE, coefficient=3.0)
    forth, back = np.split(AnswerScorer(model, letter_questions(model, first, second), site=SITE).log_probs([edit]), 2)
    right = forced_choice(model, first, second, edits=[edit])
    odds = (forth[:, 0] - forth[:, 1] - back[:, 0] + back[:, 1]) / 2
    assert odds == pytest.approx(right.log_odds, abs=1e-4)


def test_marks_spell_the_first_option_in_both_orders(tiny: Callable[..., Model]) -> None:
    model = tiny("llama")
    first = ["sorting names", "reading (A) map"]
    questions = letter_questions(model, first, ["boiling an egg", "washing cars"])
    for row, question in enumerate(questions):
        assert question.marks is not None
        kept = [token for token, mark in zip(question.ids, question.marks, strict=True) if mark]
        assert model.tokens.decode(kept).strip() == first[row % 2]
    scorer = AnswerScorer(model, questions, site=SITE)
    edit = Shift(np.random.default_rng(1).normal(size=32), site=SITE, coefficient=3.0)
    marked, whole, base = scorer.log_probs([edit], marked=True), scorer.log_probs([edit]), scorer.log_probs()
    assert np.abs(marked - base).max() > 1e-3
    assert np.abs(marked - whole).max() > 1e-3


def test_a_scorer_refuses_what_it_cannot_do(tiny: Callable[..., Model]) -> None:
    model = tiny("llama")
    plain = AnswerScorer(model, [Question((5, 6), (((7,),), ((8,),)))], site=SITE)
    edit = Shift(np.ones(32), site=SITE, coefficient=1.0)
    with pytest.raises(ConfigError, match="do not say which tokens"):
        plain.log_probs([edit], marked=True)
    with pytest.raises(ConfigError, match="both answers are read at once"):
        plain.log_probs([Shift(np.ones(32), site=SITE, coefficient=1.0, positions="last")])
    with pytest.raises(ConfigError, match="no questions"):
        AnswerScorer(model, [], site=SITE)
    with pytest.raises(CorpusError, match="reads 256"):
        AnswerScorer(model, [Question((5,) * 300, (((7,),), ((8,),)))], site=SITE)


def test_a_planted_edit_moves_the_planted_answer_and_no_other_direction_does() -> None:
    found = planted()
    toward, site = np.zeros(32), Site("resid_post", 2)
    toward[READ] = 1.0
    apart = np.zeros(32)
    apart[17] = 1.0  # a dimension that nothing reads
    arms = [("raw", "up", toward, 0), ("sign flip", "up", -toward, 0), ("raw", "none", apart, 0)]
    draws = np.random.default_rng(0).normal(size=(3, 32))
    draws[:, READ] = 0.0
    arms += [("random", None, draw, number) for number, draw in enumerate(draws)]
    made = [
        Condition(Arm(name, emotion, Shift(vector, site=site, coefficient=1.0), draw), 0.1,
                  Shift(vector, site=site, coefficient=1.0))
        for name, emotion, vector, draw in arms
    ]  # fmt: skip
    table = behaviour(found.model, items(), made).frame().set_index(["arm", "emotion"])
    raw, flip, none = table.loc[("raw", "up")], table.loc[("sign flip", "up")], table.loc[("raw", "none")]
    assert raw["value"] > 0.5
    assert flip["value"] == pytest.approx(-raw["value"], rel=0.01)
    assert raw["outside"]
    assert raw["low"] > 0
    assert abs(none["value"]) < 0.01 * raw["value"]
    assert table.loc[("random", None), "value"] == pytest.approx(0, abs=0.01)


class Stub:
    """A scorer whose truth is known: the behaviour's log-odds by item, a place worth 3 nats, an edit worth its dose."""

    truth = np.linspace(-1, 1.2, 24)

    def __init__(self, _model: Any, questions: Any, **_options: Any) -> None:
        assert len(questions) == 2 * len(self.truth)

    def log_probs(self, edits: Any = ()) -> np.ndarray:
        odds = self.truth + sum(edit.dose for edit in edits)
        return np.stack([np.concatenate([odds + 3.0, odds - 3.0]), np.zeros(2 * len(odds))], axis=1)


def conditions(*arms: tuple[str, str | None, float], level: float = 0.1) -> list[Condition]:
    edits = [Shift(np.ones(32), site=SITE, coefficient=dose) for _, _, dose in arms]
    return [
        Condition(Arm(name, emotion, edit, draw), level, edit)
        for draw, ((name, emotion, _), edit) in enumerate(zip(arms, edits, strict=True))
    ]


def test_places_cancel_and_a_battery_that_they_rule_is_not_interpreted(
    tiny: Callable[..., Model], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "AnswerScorer", Stub)
    found = behaviour(tiny(), items(), {"one": Shift(np.ones(32), site=SITE, coefficient=0.5)})
    assert found.cells["base"].to_numpy() == pytest.approx(Stub.truth)
    assert found.cells["base_bias"].to_numpy() == pytest.approx(3.0)
    assert found.cells["effect"].to_numpy() == pytest.approx(0.5)
    assert "position decides" in found.headroom.problem
    frame = found.frame()
    assert not frame["interpreted"].any()
    assert frame["p"].isna().all(), "a battery without head-room has no tests"
    assert "NOT INTERPRETED" in repr(found)
    assert found.facts()["headroom"]["interpreted"] is False
    assert found.facts()["moved"] == []
    assert found.save(tmp_path / "b.parquet").with_suffix(".json").is_file()


def test_tests_are_against_random_directions_and_holm_is_over_emotions(
    tiny: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fair(Stub):
        def log_probs(self, edits: Any = ()) -> np.ndarray:
            odds = self.truth + sum(edit.dose for edit in edits) * (1 + 0.1 * np.arange(24) / 24)
            return np.stack([np.concatenate([odds, odds]), np.zeros(48)], axis=1)

    monkeypatch.setattr(module, "AnswerScorer", Fair)
    made = conditions(("raw", "happy", 1.0), ("raw", "sad", 0.3), ("random", None, 0.2), ("random", None, 0.4))
    calls: list[tuple[int, int]] = []
    found = behaviour(tiny(), items(), made, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (4, 4)
    table = found.frame().set_index("arm")
    own = table.loc["raw"].set_index("emotion")
    assert own.loc["happy", "random_low"] == pytest.approx(0.2 * 1.048, rel=0.01)
    assert own.loc["happy", "outside"]
    assert not own.loc["sad", "outside"]
    assert own.loc["happy", "p_holm"] == pytest.approx(2 * own.loc["happy", "p"])
    assert own.loc["happy", "p_holm"] < 0.01
    assert found.facts()["moved"] == ["raw happy 0.1"]
    assert found.outside() == [{"arm": "raw", "level": 0.1, "count": 1, "n": 2, "expected": pytest.approx(4 / 3)}]
    kinds = found.frame(by="kind")
    assert set(kinds["kind"]) == {"risky", "benign"}
    assert (kinds["n"] == 12).all()
    with pytest.raises(ConfigError, match="by group or kind"):
        found.frame(by="grp")
    assert found.plot().to_dict()["title"]


@pytest.mark.parametrize(
    ("odds", "bias", "said"),
    [
        (np.full(30, -2.0), np.zeros(30), "at floor"),
        (np.full(30, 2.0), np.zeros(30), "at ceiling"),
        (np.linspace(-1, 1, 30), np.full(30, 2.0), "position decides"),
        (np.linspace(-1, 1, 30), np.full(30, 0.1), ""),
    ],
)
def test_head_room(odds: np.ndarray, bias: np.ndarray, said: str) -> None:
    found = Headroom.of(odds, bias)
    assert found.problem.startswith(said)
    assert bool(found.problem) == bool(said)


def test_doses_are_matched_and_cells_are_found_again(
    tiny: Callable[..., Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emovec_sae.scoring.damage import KLProbe

    model = tiny("llama")
    texts = [f"{'abcdefgh'[row]} stone and a river and a lamp on the table" for row in range(8)]
    probe = KLProbe(model, texts, site=SITE, positions=16)
    vectors = np.random.default_rng(0).normal(size=(2, 32))
    arms = [Arm("raw", name, Shift(one, site=SITE, coefficient=1.0)) for name, one in zip("ab", vectors, strict=True)]
    where = {"levels": [0.05], "residual_norm": 1.0, "cells": tmp_path / "doses"}
    made = match_doses(arms, probe, **where)
    assert all(one.reached and one.kl == pytest.approx(0.05, rel=0.021) for one in made)
    first = behaviour(model, items(4), made, cells=tmp_path / "cells")
    monkeypatch.setattr(AnswerScorer, "log_probs", Stubbed(AnswerScorer.log_probs))
    again = behaviour(model, items(4), match_doses(arms, probe, **where), cells=tmp_path / "cells")
    pd.testing.assert_frame_equal(first.cells, again.cells)
    with pytest.raises(ConfigError, match="items differ"):
        behaviour(model, items(3), made, cells=tmp_path / "cells")
    with pytest.raises(ConfigError, match="matched to a level"):
        behaviour(model, items(4), {"a": made[0].edit}, cells=tmp_path / "other")


class Stubbed:
    """Lets the base through, and nothing else: what was kept is not measured again."""

    def __init__(self, real: Any) -> None:
        self.real = real

    def __get__(self, owner: Any, _kind: Any) -> Any:
        def log_probs(edits: Any = ()) -> Any:
            assert not edits, "a kept condition was measured again"
            return self.real(owner, edits)

        return log_probs


def test_what_cannot_be_asked_is_said(tiny: Callable[..., Model]) -> None:
    model, edit = tiny(), Shift(np.ones(32), site=SITE, coefficient=1.0)
    with pytest.raises(ConfigError, match="at least 1"):
        behaviour(model, items(), {})
    with pytest.raises(CorpusError, match="no items of use 'tune'"):
        behaviour(model, items(), {"a": edit}, use="tune")
    with pytest.raises(CorpusError, match="no column 'answer_b'"):
        behaviour(model, items().drop(columns="answer_b"), {"a": edit})
    with pytest.raises(ConfigError, match="stands twice"):
        behaviour(model, items(), [*conditions(("raw", "a", 1.0)), *conditions(("raw", "a", 2.0))])
    with pytest.raises(ConfigError, match="name at least 1"):
        steering_arms(None, [])  # pyright: ignore[reportArgumentType]
    away = Ablate((np.eye(32)[:1]).astype(np.float32), SITE, "all")
    found = behaviour(model, items(4), {"away": away})
    assert math.isnan(found.frame()["level"].iloc[0])
