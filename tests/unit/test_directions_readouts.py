"""Readouts against plain definitions; ranks and areas against small loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_auc_score

from emovec_sae.directions.ranking import chance, own_ranks, rank_by_fold, rank_texts
from emovec_sae.directions.readouts import (
    READOUTS,
    ReadoutStats,
    balanced_weights,
    read,
    read_projections,
    unit_rows,
)
from emovec_sae.errors import ConfigError

random = np.random.default_rng(0)
H, V, TRAIN = (
    random.normal(size=(7, 5)) + 4,
    random.normal(size=(3, 5)) * [[1.0], [10.0], [0.1]],
    random.normal(size=(20, 5)),
)
STATS = ReadoutStats.fit(TRAIN, V)


def by_definition(name: str, h: np.ndarray, v: np.ndarray) -> float:
    u = v / np.sqrt((v**2).sum())
    mean = TRAIN.mean(axis=0)
    seen = np.array([row @ u for row in TRAIN])
    return {
        "dot": h @ u,
        "cosine": h @ u / np.sqrt((h**2).sum()),
        "centred_cosine": (h - mean) @ u / np.sqrt(((h - mean) ** 2).sum()),
        "zscore": (h @ u - seen.mean()) / seen.std(),
        "batch_centred": (h - H.mean(axis=0)) @ u,
    }[name]


@pytest.mark.parametrize("name", READOUTS)
def test_definition(name: str) -> None:
    wanted = np.array([[by_definition(name, h, v) for v in V] for h in H])
    np.testing.assert_allclose(read(H, V, STATS, readout=name), wanted, rtol=1e-10)
    units = unit_rows(V)
    np.testing.assert_allclose(read_projections(H, H @ units.T, units, STATS, readout=name), wanted, rtol=1e-9)


@pytest.mark.parametrize("name", READOUTS)
def test_only_the_transductive_readout_looks_at_the_company(name: str) -> None:
    alone = read(H[:1], V, STATS, readout=name)
    together = read(H, V, STATS, readout=name)[:1]
    assert np.allclose(alone, together) == (name != "batch_centred")


@pytest.mark.parametrize("name", READOUTS)
@given(gains=arrays(float, 3, elements=st.floats(0.01, 100)))
def test_the_length_of_a_vector_does_not_matter(name: str, gains: np.ndarray) -> None:
    scaled = V * gains[:, None]
    np.testing.assert_allclose(
        read(H, scaled, ReadoutStats.fit(TRAIN, scaled), readout=name), read(H, V, STATS, readout=name), atol=1e-9
    )


@given(shift=arrays(float, 5, elements=st.floats(-50, 50)), gain=st.floats(0.1, 10))
def test_trained_readouts_ignore_a_shift_and_a_gain_of_the_stream(shift: np.ndarray, gain: float) -> None:
    moved = ReadoutStats.fit(gain * TRAIN + shift, V)
    for name in ("zscore", "centred_cosine"):
        np.testing.assert_allclose(
            read(gain * H + shift, V, moved, readout=name), read(H, V, STATS, readout=name), atol=1e-7
        )


def test_inputs_stay_as_they_are() -> None:
    values, vectors = H.copy(), V.copy()
    for name in READOUTS:
        read(values, vectors, STATS, readout=name)
    np.testing.assert_array_equal(values, H)
    np.testing.assert_array_equal(vectors, V)


def test_no_deviation_and_no_length_give_no_infinity() -> None:
    flat = ReadoutStats.fit(np.ones((4, 5)), V)
    for name in READOUTS:
        assert np.isfinite(read(np.zeros((2, 5)), np.zeros((3, 5)), flat, readout=name)).all()


def test_balanced_weights_weigh_labels_alike() -> None:
    y = np.array([0, 0, 0, 0, 1, 2, 2])
    weights = balanced_weights(y)
    np.testing.assert_allclose(np.bincount(y, weights=weights), 1 / 3)
    stats = ReadoutStats.fit(TRAIN[:7], V, weights)
    np.testing.assert_allclose(stats.mean, np.mean([TRAIN[:7][y == code].mean(axis=0) for code in range(3)], axis=0))


def test_unknown_readout_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'zscore'"):
        read(H, V, STATS, readout="z-score")


def test_ranks_count_ties_against_the_text() -> None:
    scores = np.array([[3.0, 1.0, 2.0], [5.0, 5.0, 5.0], [1.0, 2.0, 2.0]])
    np.testing.assert_array_equal(own_ranks(scores, np.array([0, 1, 2])), [1, 3, 2])


@given(seed=st.integers(0, 2**16))
def test_area_agrees_with_scikit_learn(seed: int) -> None:
    draw = np.random.default_rng(seed)
    y = np.concatenate([np.arange(4), draw.integers(4, size=16)])
    scores = draw.integers(6, size=(20, 4)).astype(float)
    found = rank_texts(scores, y).auroc
    for code in range(4):
        assert found[y == code].mean() == pytest.approx(roc_auc_score(y == code, scores[:, code]))


def test_folds_are_ranked_apart() -> None:
    scores, y, folds = np.array([[9.0, 8.0], [8.0, 9.0], [1.0, 0.0], [0.0, 1.0]]), np.array([0, 1, 0, 1]), [0, 0, 1, 1]
    np.testing.assert_array_equal(rank_by_fold(scores, y, np.array(folds)).auroc, 1)
    assert rank_texts(scores, y).auroc.mean() == 0.75


def test_chance() -> None:
    assert chance("top1", 24) == pytest.approx(1 / 24)
    assert chance("top5", 24) == pytest.approx(5 / 24)
    assert chance("top5", 3) == 1
    assert chance("auroc", 24) == 0.5
