"""Dose: the search finds the wanted divergence on curves of known shape, and says so where there is none."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emovec_sae.errors import ConfigError
from emovec_sae.interventions.dose import Dose, calibrate
from emovec_sae.interventions.edits import Ablate, Shift
from emovec_sae.interventions.neutral import NeutralProbe
from emovec_sae.models.seam import forward
from emovec_sae.sites import Site
from emovec_sae.testing import tiny_model

WORDS = ("stone", "river", "lamp", "paper")

EDIT = Shift(np.ones(4), site=Site("resid_post", 0), coefficient=1.0)


class Curve:
    """A probe whose divergence is a function of the coefficient."""

    def __init__(self, curve: Callable[[float], float]) -> None:
        self.curve = curve
        self.asked: list[float] = []

    def kl(self, edits: list[Shift]) -> float:
        self.asked.append(edits[0].coefficient)
        return self.curve(edits[0].coefficient)


def search(curve: Callable[[float], float], *, level: float, start: float = 1.0, **options: Any) -> tuple[Dose, Curve]:
    probe = Curve(curve)
    return calibrate(EDIT, probe, level=level, start=start, **options), probe


levels = st.floats(0.01, 2.0)
starts = st.floats(0.1, 5.0)


@given(levels, starts)
def test_a_square_takes_two_or_three_steps(level: float, start: float) -> None:
    dose, probe = search(lambda c: c * c, level=level, start=start)
    assert dose.reached
    assert dose.coefficient == pytest.approx(math.sqrt(level), rel=0.01)
    assert dose.kl == pytest.approx(level, rel=0.02)
    assert dose.monotone
    # a step is at most a factor of 4 up and of 10 down
    assert dose.evaluations == len(probe.asked) <= 5


@given(levels, starts, st.floats(0.5, 8.0), st.floats(0.2, 3.0))
def test_any_power_is_found(level: float, start: float, power: float, unit: float) -> None:
    dose, _ = search(lambda c: (c / unit) ** power, level=level, start=start)
    right = unit * level ** (1 / power)
    if right < 0.9 * 64 * start:
        assert dose.reached
        assert dose.kl == pytest.approx(level, rel=0.02)
        assert dose.coefficient == pytest.approx(right, rel=0.05)


@pytest.mark.parametrize("start", [0.3, 5.0])
@pytest.mark.parametrize("level", [0.05, 0.1, 1.0])
@pytest.mark.parametrize(
    "curve",
    [
        lambda c: 3 / (1 + math.exp(-20 * (c - 1.3))),  # a cliff: from 0.1 to 1 nat within 0.15
        lambda c: 1.5 * (1 - math.exp(-(c**2))),  # saturates
        lambda c: math.log1p(c) ** 2,  # flattens
        lambda c: c**2 if c < 0.2 else 0.04 + 8 * (c - 0.2),  # bends
    ],
)
def test_steep_and_flat_curves_are_found(curve: Callable[[float], float], level: float, start: float) -> None:
    dose, _ = search(curve, level=level, start=start)
    assert dose.reached
    assert curve(dose.coefficient) == pytest.approx(level, rel=0.02)


def test_a_level_that_cannot_be_reached_is_said_and_the_nearest_given() -> None:
    dose, probe = search(lambda c: 0.3 * (1 - math.exp(-(c**2))), level=0.5)
    assert not dose.reached
    assert dose.kl == pytest.approx(0.3, rel=1e-3)
    assert max(probe.asked) <= 64.0, "the search ran away"
    dose, probe = search(lambda c: 0.0, level=0.5)
    assert not dose.reached
    assert max(probe.asked) <= 64.0
    assert len(probe.asked) < 20


def test_a_jump_over_the_level_ends_and_is_said() -> None:
    dose, probe = search(lambda c: 0.001 if c < 1.3 else 2.0, level=0.1)
    assert not dose.reached
    assert len(probe.asked) <= 20
    assert len(set(probe.asked)) == len(probe.asked), "a coefficient was tried twice"


def test_a_curve_that_turns_is_reported() -> None:
    # rises to 0.37 at 1, falls, and rises again far out
    dose, _ = search(lambda c: c * math.exp(-c) + 1e-3 * c**2, level=0.9, start=0.5)
    assert not dose.monotone
    dose, _ = search(lambda c: c * math.exp(-c), level=0.2, start=0.05)
    assert dose.reached


def test_a_divergence_that_is_no_number_is_no_dose() -> None:
    dose, _ = search(lambda c: math.nan if c > 2 else 1e-4, level=0.5)
    assert not dose.reached
    assert dose.kl == 1e-4
    dose, _ = search(lambda c: math.nan if c > 2 else c**2, level=0.5, start=50)
    assert dose.reached


def test_tolerance_is_that_of_the_divergence() -> None:
    loose, _ = search(lambda c: c**3, level=0.5, tolerance=0.2)
    tight, _ = search(lambda c: c**3, level=0.5, tolerance=1e-6)
    assert loose.kl == pytest.approx(0.5, rel=0.2)
    assert tight.kl == pytest.approx(0.5, rel=1e-6)
    assert loose.evaluations <= tight.evaluations


def test_by_perplexity_the_tolerance_is_of_what_lies_above_one() -> None:
    class Growing(Curve):
        def perplexity(self, edits: list[Shift]) -> float:
            return 1 + 0.3 * edits[0].coefficient ** 2

    dose = calibrate(EDIT, Growing(lambda c: math.nan), level=1.05, start=1.0, match="perplexity")
    assert dose.reached
    assert dose.value - 1 == pytest.approx(0.05, rel=0.02)
    assert (dose.match, math.isnan(dose.kl)) == ("perplexity", True)
    with pytest.raises(ConfigError, match="level must be above 1"):
        calibrate(EDIT, Growing(lambda c: c), level=0.9, start=1.0, match="perplexity")


def test_a_share_ends_at_one_and_is_tried_there() -> None:
    edit = Ablate(np.eye(4)[:1], Site("resid_post", 0))
    asked: list[float] = []

    class Shares:
        def __init__(self, most: float) -> None:
            self.most = most

        def kl(self, edits: list[Ablate]) -> float:
            asked.append(edits[0].share)
            return self.most * edits[0].share ** 2

    dose = calibrate(edit, Shares(0.4), level=0.1)
    assert dose.reached
    assert dose.coefficient == pytest.approx(0.5, rel=0.02)
    dose = calibrate(edit, Shares(0.05), level=0.1)
    assert not dose.reached
    assert (dose.coefficient, dose.value) == (1.0, pytest.approx(0.05))
    assert max(asked) == 1.0


def test_probes_and_matches_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="cannot match by 'nrm'"):
        search(lambda c: c, level=0.1, match="nrm")
    with pytest.raises(ConfigError, match="a Curve does not measure norm; give a NeutralProbe"):
        search(lambda c: c, level=0.1, match="norm")
    with pytest.raises(ConfigError, match="has no largest dose"):
        calibrate(EDIT, Curve(lambda c: c), level=0.1, start=math.inf)


@pytest.fixture(scope="module")
def neutral() -> NeutralProbe:
    texts = [f"{word} and a {other} stood by the {word} of the {other}." for word in WORDS for other in WORDS]
    return NeutralProbe(
        tiny_model(), texts, site=Site("resid_post", 1), residual_norm=40.0, positions=24, per_text=3, seed=1
    )


def test_the_norm_of_a_shift_is_its_coefficient(neutral: NeutralProbe) -> None:
    edit = Shift(np.ones(32), site=Site("resid_post", 1), coefficient=2.0)
    assert neutral.norm([edit]) == pytest.approx(2 / 40, rel=1e-4)
    above = Shift(np.ones(32), site=Site("resid_pre", 2), coefficient=4.0)
    assert neutral.norm([above]) == pytest.approx(4 / 40, rel=1e-4)
    dose = calibrate(edit, neutral, level=0.3, start=1.0, match="norm")
    assert dose.reached
    assert dose.coefficient == pytest.approx(12.0, rel=0.02)
    with pytest.raises(ConfigError, match="at one site"):
        neutral.norm([edit, above])


def test_perplexity_is_that_of_the_next_tokens(neutral: NeutralProbe) -> None:
    edit = Shift(np.random.default_rng(0).standard_normal(32), site=Site("resid_post", 1), coefficient=6.0)
    losses: list[list[float]] = []
    for edits in ([], [edit]):
        own: list[float] = []
        for prefix, where in neutral._parts:
            logits = neutral.model.head(forward(neutral.model, prefix.batch, edits=edits, final=True).final)
            for row, places in enumerate(where.tolist()):
                ids = prefix.batch.input_ids[row].tolist()
                own += [-float(logits[row, at].log_softmax(-1)[ids[at + 1]]) for at in places if at + 1 < len(ids)]
        losses.append(own)
    assert neutral.perplexity([edit]) == pytest.approx(math.exp(np.mean(losses[1]) - np.mean(losses[0])), rel=1e-4)
    assert neutral.perplexity([]) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize(("level", "start"), [(0.0, 1.0), (-0.1, 1.0), (0.1, 0.0), (math.nan, 1.0)])
def test_impossible_levels_are_refused(level: float, start: float) -> None:
    with pytest.raises(ConfigError, match="level must be above 0"):
        search(lambda c: c, level=level, start=start)
