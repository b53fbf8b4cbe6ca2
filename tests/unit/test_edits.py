"""Edits: what each does to the states, where the mask lets it, in any precision."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emovec_sae.errors import ConfigError
from emovec_sae.interventions.edits import (
    Ablate,
    AblateLatents,
    AddLatents,
    ByRow,
    ClampLatents,
    ClampProjection,
    Dosed,
    PatchDirection,
    PatchLatents,
    PatchResidual,
    SaePassThrough,
    ScaleLatents,
    Shift,
    Steer,
)
from emovec_sae.models.positions import NAMES, Positions
from emovec_sae.models.seam import Edit
from emovec_sae.models.tokens import Batch
from emovec_sae.sites import Site
from emovec_sae.testing import planted_codes

SITE = Site("resid_post", 3)
CODES = planted_codes(d=16, d_sae=12, emotions=2, k=3, groups=2, bias=0.3)
seeds = st.integers(0, 10_000)
doses = st.floats(-50, 50, allow_nan=False).map(lambda one: float(np.float32(one)))
dtypes = st.sampled_from([torch.float32, torch.bfloat16])


def states(seed: int, dtype: torch.dtype = torch.float32, d: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """States (3, 5, d) and a mask with True and False in it."""
    maker = torch.Generator().manual_seed(seed)
    mask = torch.rand(3, 5, generator=maker) < 0.5
    mask[0, 0], mask[0, 1] = True, False
    return torch.randn(3, 5, d, generator=maker).to(dtype), mask


def vector(seed: int, d: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(d).astype(np.float32)


def direction(seed: int = 0, site: Site = SITE, norm: float | None = 20.0, d: int = 12) -> Any:
    """What an edit reads of a direction of a `DirectionSet`."""
    made = vector(seed, d)
    unit = made / np.linalg.norm(made)
    return SimpleNamespace(vector=made, unit=unit, site=site, set=SimpleNamespace(residual_norm=norm))


def all_edits(seed: int) -> list[Edit]:
    hidden, mask = states(seed + 1)
    wide = direction(seed, d=12)
    return [
        ClampProjection(wide, strength=0.2),
        PatchDirection.of(wide, hidden, mask),
        Shift(vector(seed), site=SITE, coefficient=3.0),
        Steer(direction(seed), strength=0.2),
        AddLatents(np.eye(12, dtype=np.float32), [1, 4], [2.0, -1.0], site=SITE, coefficient=3.0),
        Ablate.of(direction(seed)),
        PatchResidual(hidden, mask, SITE),
        ByRow((Shift(vector(seed), site=SITE, coefficient=3.0), None, Ablate.of(direction(seed))), SITE),
    ]


@given(seeds, dtypes)
def test_edits_act_under_the_mask_only_and_change_no_input(seed: int, dtype: torch.dtype) -> None:
    hidden, mask = states(seed, dtype)
    before = hidden.clone(), mask.clone()
    for edit in all_edits(seed):
        assert isinstance(edit, Edit)
        found = edit(hidden, mask)
        assert found.dtype == dtype
        assert found.shape == hidden.shape
        assert torch.equal(found[~mask], hidden[~mask])
        assert not torch.equal(found, hidden), f"{edit} did nothing"
        assert torch.equal(hidden, before[0])
        assert torch.equal(mask, before[1])
        assert torch.equal(edit(hidden, torch.zeros_like(mask)), hidden)


@given(seeds, doses, dtypes)
def test_a_shift_adds_its_unit_vector_times_the_dose(seed: int, dose: float, dtype: torch.dtype) -> None:
    hidden, mask = states(seed, dtype)
    made = vector(seed)
    found = Shift(made * 7, site=SITE, coefficient=dose)(hidden, mask)
    unit = made.astype(np.float64) / np.linalg.norm(made.astype(np.float64))
    right = hidden[mask].double() + torch.from_numpy(unit * dose)
    # rounding of the sum and of the added vector, each half a step of the largest value there
    step = {torch.float32: 2.0**-23, torch.bfloat16: 2.0**-8}[dtype]
    assert (found[mask].double() - right).abs().max() <= 2 * step * (4 + abs(dose))


@given(seeds, doses)
def test_doses_add_up_and_undo(seed: int, dose: float) -> None:
    hidden, mask = states(seed)
    edit = Shift(vector(seed), site=SITE, coefficient=dose)
    back = edit.at(-dose)(edit(hidden, mask), mask)
    torch.testing.assert_close(back, hidden, rtol=0, atol=1e-5 * (1 + abs(dose)))
    twice = edit(edit(hidden, mask), mask)
    torch.testing.assert_close(edit.at(2 * dose)(hidden, mask), twice, rtol=0, atol=1e-5 * (1 + abs(dose)))


@given(seeds, dtypes)
def test_dose_zero_returns_equal_bits(seed: int, dtype: torch.dtype) -> None:
    hidden, mask = states(seed, dtype)
    assert torch.equal(Shift(vector(seed), site=SITE, coefficient=0.0)(hidden, mask), hidden)
    assert torch.equal(Steer(direction(seed), strength=0.0)(hidden, mask), hidden)


def test_a_shift_keeps_what_it_was_when_its_dose_changes() -> None:
    edit = Shift(vector(0), site=SITE, coefficient=2.0, positions="generated")
    other = edit.at(5.0)
    assert (other.coefficient, other.site, other.positions) == (5.0, SITE, "generated")
    assert edit.coefficient == 2.0
    np.testing.assert_allclose(other.unit, edit.unit, atol=1e-7)
    assert "coefficient=5" in repr(other)


def test_strength_is_in_mean_residual_norms() -> None:
    edit = Steer(direction(norm=20.0), strength=0.3)
    assert edit.coefficient == pytest.approx(6.0)
    np.testing.assert_allclose(edit.unit, direction().unit, atol=1e-7)
    assert edit.site == SITE


@given(seeds, st.lists(st.integers(0, 7), min_size=1, max_size=5, unique=True))
def test_latents_add_their_sum_of_rows(seed: int, latents: list[int]) -> None:
    random = np.random.default_rng(seed)
    rows, amounts = random.standard_normal((8, 12)).astype(np.float32), random.normal(size=len(latents))
    edit = AddLatents(rows, latents, amounts, site=SITE, coefficient=4.0)
    total = sum(amount * rows[latent].astype(np.float64) for amount, latent in zip(amounts, latents, strict=True))
    np.testing.assert_allclose(edit.unit, total / np.linalg.norm(total), atol=1e-4)
    assert edit.latents == tuple(latents)
    hidden, mask = states(seed)
    shift = Shift(edit.unit, site=SITE, coefficient=4.0)
    torch.testing.assert_close(edit(hidden, mask), shift(hidden, mask), rtol=0, atol=1e-5)


@given(seeds, st.integers(1, 4), dtypes)
def test_ablation_takes_the_span_out_and_nothing_else(seed: int, count: int, dtype: torch.dtype) -> None:
    hidden, mask = states(seed, dtype)
    some = [direction(seed + index) for index in range(count)]
    found = Ablate.of(*some)(hidden, mask)
    units = torch.from_numpy(np.stack([one.unit for one in some]))
    atol = {torch.float32: 1e-5, torch.bfloat16: 0.1}[dtype]
    assert (found[mask].float() @ units.T).abs().max() <= atol
    away = np.linalg.svd(np.stack([one.unit for one in some]))[2][count:]  # what is orthogonal to all of them
    kept = (found[mask].float() - hidden[mask].float()).numpy() @ away.T
    assert np.abs(kept).max() <= atol
    again = Ablate.of(*some)(found, mask)
    torch.testing.assert_close(again, found, rtol=0, atol=atol)


def test_ablation_of_a_direction_named_twice_is_that_of_one() -> None:
    hidden, mask = states(0)
    one, same = direction(1), direction(1)
    one.vector *= 2
    got, right = Ablate.of(one, direction(2), same)(hidden, mask), Ablate.of(one, direction(2))(hidden, mask)
    torch.testing.assert_close(got, right, rtol=0, atol=1e-5)


def coded(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Planted latents (3, 5, 12), some of them 0, and the states that hold them and an error; a mask."""
    random = np.random.default_rng(seed)
    latents = torch.from_numpy(random.uniform(0.5, 2, (3, 5, 12)) * (random.random((3, 5, 12)) < 0.7)).float()
    outside = np.linalg.svd(CODES.coder.directions.numpy())[2][12:]  # what no latent reads
    error = torch.from_numpy(random.standard_normal((3, 5, 4)) @ outside).float()
    hidden = latents @ CODES.coder.directions + CODES.coder.bias + error
    return hidden, latents, states(seed)[1]


@given(seeds)
def test_latents_move_by_what_is_asked_and_the_error_stays(seed: int) -> None:
    coder, some = CODES.coder, [1, 4, 7]
    hidden, latents, mask = coded(seed)
    other, theirs, where = coded(seed + 1)
    amounts = np.array([2.0, 1.0, 0.5])
    norm = float(np.linalg.norm(amounts @ coder.directions[some].numpy()))
    wanted = {
        ClampLatents(coder, some, amounts, coefficient=3.0): torch.from_numpy(3 * amounts / norm).float(),
        ScaleLatents(coder, some, factor=1.5): 1.5 * latents[..., some],
        AblateLatents(coder, some): 0 * latents[..., some],
        AblateLatents(coder, some, share=0.25): 0.75 * latents[..., some],
        PatchLatents(coder, some, other, where): torch.where(where[..., None], theirs, latents)[..., some],
    }
    for edit, values in wanted.items():
        assert (edit.site, edit.latents) == (coder.site, (1, 4, 7))
        right = latents.clone()
        right[..., some] = values
        moved = hidden + (right - latents) @ coder.directions
        right = torch.where(mask[..., None], moved, hidden)
        # the planted SAE reads its latents through a pseudo-inverse: a few float32 steps of values up to 10
        torch.testing.assert_close(edit(hidden, mask), right, rtol=0, atol=1e-4)


@given(seeds)
def test_the_pass_through_leaves_the_reconstruction(seed: int) -> None:
    hidden, latents, mask = coded(seed)
    found = SaePassThrough(CODES.coder)(hidden, mask)
    torch.testing.assert_close(found[mask], CODES.coder.decode(latents[mask]), rtol=0, atol=1e-4)
    assert torch.equal(found[~mask], hidden[~mask])
    assert (found - hidden)[mask].norm(dim=-1).min() > 0.01, "the planted error was not there to be lost"


@given(seeds, st.floats(-9, 9))
def test_a_clamp_holds_the_projection(seed: int, value: float) -> None:
    hidden, mask = states(seed)
    one = direction(seed)
    found = ClampProjection(one, coefficient=value)(hidden, mask)
    torch.testing.assert_close(found[mask] @ torch.from_numpy(one.unit), torch.full((int(mask.sum()),), value),
                               rtol=0, atol=1e-4)  # fmt: skip
    away = np.linalg.svd(one.unit[None])[2][1:]
    assert np.abs((found - hidden).numpy() @ away.T).max() < 1e-4
    assert ClampProjection(one, strength=0.1).at(0.0).dose == 0.0
    torch.testing.assert_close(
        ClampProjection(one, coefficient=0.0)(hidden, mask), Ablate.of(one)(hidden, mask), rtol=0, atol=1e-5
    )


@given(seeds)
def test_a_patched_direction_brings_its_part_alone(seed: int) -> None:
    hidden, mask = states(seed)
    other, where = states(seed + 1)
    pair = [direction(seed), direction(seed + 5)]
    found = PatchDirection.of(pair, other, where)(hidden, mask)
    both = where & mask
    units = torch.from_numpy(np.stack([one.unit for one in pair]))
    torch.testing.assert_close(found[both] @ units.T, other[both] @ units.T, rtol=0, atol=1e-4)
    away = np.linalg.svd(units.numpy())[2][2:]
    assert np.abs((found - hidden).numpy() @ away.T).max() < 1e-4
    assert torch.equal(found[~both], hidden[~both])


def doses_of_nothing() -> list[Dosed]:
    """Every edit of which dose 0 is nothing."""
    other, _, where = coded(1)
    return [
        Shift(vector(0, 16), site=SITE, coefficient=3.0),
        Steer(direction(d=16), strength=0.3),
        Ablate.of(direction(d=16)),
        AblateLatents(CODES.coder, [0, 2]),
        ScaleLatents(CODES.coder, [0, 2], factor=3.0),
        SaePassThrough(CODES.coder),
        PatchResidual(other, where, SITE),
        PatchDirection.of(direction(d=16), other, where),
        PatchLatents(CODES.coder, None, other, where),
    ]


@pytest.mark.parametrize("edit", doses_of_nothing(), ids=lambda edit: type(edit).__name__)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_edit_has_a_dose_and_none_at_zero(edit: Dosed, dtype: torch.dtype) -> None:
    hidden, _, mask = coded(0)
    hidden = hidden.to(dtype)
    assert isinstance(edit, Dosed)
    assert torch.equal(edit.at(0.0)(hidden, mask), hidden)
    whole, half = (edit.at(dose * edit.dose)(hidden, mask).float() - hidden.float() for dose in (1.0, 0.5))
    assert not torch.equal(whole, torch.zeros_like(whole))
    assert edit.at(0.5 * edit.dose).dose == pytest.approx(0.5 * edit.dose)
    # all are lines in their dose; rounding of the states to bfloat16 is at most 2**-8 of values up to 12
    torch.testing.assert_close(half, whole / 2, rtol=0, atol={torch.float32: 1e-5, torch.bfloat16: 0.1}[dtype])
    assert whole.dtype == torch.float32
    assert edit(hidden, mask).dtype == dtype


def test_a_patch_brings_the_recorded_values() -> None:
    hidden, mask = states(0, torch.bfloat16)
    other, where = states(1)
    found = PatchResidual(other, where, SITE)(hidden, mask)
    both = where & mask
    assert torch.equal(found[both], other.to(torch.bfloat16)[both])
    assert torch.equal(found[~both], hidden[~both])
    one = PatchResidual(other[:1], where, SITE)(hidden, mask)
    assert torch.equal(one[both], other[:1].to(torch.bfloat16).expand(3, 5, 12)[both])


def test_each_row_gets_its_own_edit() -> None:
    hidden, mask = states(0)
    edits = (Shift(vector(1), site=SITE, coefficient=1.0), None, Ablate.of(direction(2)))
    found = ByRow(edits, SITE)(hidden, mask)
    for row, edit in enumerate(edits):
        right = hidden[row] if edit is None else edit(hidden[row : row + 1], mask[row : row + 1])[0]
        assert torch.equal(found[row], right)


def test_rows_of_many_kinds_share_a_batch() -> None:
    hidden, mask = states(0)
    hidden, mask = hidden.repeat(3, 1, 1), mask.repeat(3, 1)
    ablate = Ablate.of(direction(2))
    shifts = [Shift(vector(seed), site=SITE, coefficient=float(seed)) for seed in range(4)]
    edits = [
        shifts[1],
        ablate,
        None,
        shifts[0],
        ablate,
        shifts[2],
        shifts[3],
        None,
        ClampProjection(direction(3), coefficient=1.0),
    ]
    found = ByRow(edits, SITE)(hidden, mask)
    for row, edit in enumerate(edits):
        alone = hidden[row : row + 1]
        right = alone if edit is None else edit(alone, mask[row : row + 1])
        torch.testing.assert_close(found[row : row + 1], right, rtol=0, atol=0 if edit in shifts else 1e-6)


def test_masks_of_positions_in_a_prompt_and_behind_it() -> None:
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 0]], dtype=torch.bool)
    batch = Batch(torch.zeros(2, 4, dtype=torch.long), mask)

    def at(name: str, step: int = 0) -> list[list[bool]]:
        return Positions.parse(name).mask(batch, step).tolist()

    assert at("all") == at("prompt") == at("from:0") == mask.tolist()
    assert not any(map(any, at("generated")))
    assert at("last") == [[False, False, False, True], [False, False, True, False]]
    assert at("from:1") == [[False, False, False, True], [False, True, True, False]]
    assert at("from:3") == [[False] * 4] * 2
    for step in (1, 7):
        acts = {name: at(name, step) == [[True], [True]] for name in NAMES}
        assert acts == {"all": True, "prompt": False, "generated": True, "last": True}
    # rows of 2 and of 3 tokens: the first new token of a row has their number as its index
    assert [at("from:3", step) for step in (1, 2)] == [[[False], [True]], [[True], [True]]]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Shift(np.zeros(4), site=SITE, coefficient=1.0), "norm 0.0 cannot be added"),
        (lambda: Shift(np.array([1.0, np.nan]), site=SITE, coefficient=1.0), "norm nan cannot be added"),
        (lambda: Shift(np.ones(4), site=SITE, coefficient=1.0, positions="genrated"), "did you mean 'generated'"),
        (lambda: Steer(direction()), "either strength .* or coefficient"),
        (lambda: Steer(direction(), strength=0.1, coefficient=1.0), "one of them"),
        (lambda: Steer(direction(norm=None), strength=0.1), "needs the site's mean residual norm"),
        (lambda: AddLatents(np.eye(3), [0, 1], [0, 0], site=SITE, coefficient=1.0), "norm 0.0"),
        (lambda: Ablate.of(direction(), direction(1, Site("resid_post", 4))), "these are of 2 sites"),
        (lambda: Ablate.of(), "these are of 0 sites"),
        (lambda: Ablate(np.ones((2, 4)), SITE), "needs orthonormal rows"),
        (lambda: Ablate.of(direction(), share=np.nan), "share is nan"),
        (lambda: AblateLatents(CODES.coder, [3, 12]), "latent 12 does not exist: the SAE has 12, 0 to 11"),
        (lambda: AblateLatents(CODES.coder, [3, 3]), "named twice"),
        (lambda: ClampLatents(CODES.coder, [1], [1.0, 2.0], coefficient=1.0), "1 latents were given with amounts"),
        (lambda: ClampLatents(CODES.coder, [1], [0.0], coefficient=1.0), "norm 0.0"),
        (lambda: Positions.parse("span:9-3"), "hold no character"),
        (lambda: Positions.parse("role:asistant"), "did you mean 'assistant'"),
        (lambda: Positions.parse("from:-1"), "unknown positions 'from:-1'"),
        (
            lambda: Positions.parse("span:0-3").mask(Batch(torch.zeros(1, 2), torch.ones(1, 2).bool()), 0),
            "made of tokens alone",
        ),
        (
            lambda: ByRow((Shift(np.ones(4), site=Site("mlp_out", 1), coefficient=1.0),), SITE),
            r"this is resid_post\.3 at 'all', one of them is mlp_out\.1",
        ),
        (
            lambda: ByRow((Shift(np.ones(4), site=SITE, coefficient=1.0, positions="last"),), SITE),
            "one of them is resid_post.3 at 'last'",
        ),
    ],
)
def test_impossible_edits_are_refused(make: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()
