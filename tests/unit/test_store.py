"""Reading a store whose every value is known: pools, views, whole texts of tokens, and the shuffled stream."""

from __future__ import annotations

import sys
from itertools import islice

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted_stores import BARE, OFFSET, SITE, Planted, plant

from emovec_sae.errors import ConfigError, StoreError
from emovec_sae.sites import Site
from emovec_sae.store.reader import Activations


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant(tmp_path_factory.mktemp("planted") / "store")


def means(planted: Planted, rows: object) -> np.ndarray:
    """Means from the offset on: position 1 is the first kept token."""
    return np.stack([planted.values[row][OFFSET - 1 :].mean(axis=0) for row in rows])


def test_pooled_values_stand_in_the_order_of_the_frame(planted: Planted) -> None:
    acts, rows = planted.acts, range(len(planted.values))
    assert list(acts.frame["id"]) == [f"t{row}" for row in rows]
    np.testing.assert_array_equal(acts.pooled(SITE, "mean"), means(planted, rows))
    np.testing.assert_array_equal(acts.pooled(Site.parse(SITE), "last"), np.stack([one[-1] for one in planted.values]))
    np.testing.assert_array_equal(acts[BARE].pooled(), -means(planted, rows))
    assert acts.pooled(SITE).dtype == np.float32


def test_what_the_store_says_of_itself(planted: Planted) -> None:
    acts = planted.acts
    assert acts.sites == (Site("resid_post", 1), Site("resid_post", 2))
    assert acts.pools == ("mean", "last", "none")
    assert (acts.has_tokens(SITE), acts.has_tokens(BARE)) == (True, False)
    norms = np.linalg.norm(np.concatenate([one[OFFSET - 1 :] for one in planted.values]), axis=1)
    assert acts.residual_norm[SITE] == pytest.approx(norms.mean(), rel=1e-6)
    assert acts.count_tokens(SITE) == len(planted.all_tokens)
    said = repr(acts)
    assert "13 texts of 'planted'" in said
    assert SITE in said
    assert "mean, last, none" in said


@given(st.data())
def test_views_of_views_show_their_rows_in_their_order(planted: Planted, data: st.DataObject) -> None:
    first = data.draw(st.lists(st.integers(0, 12), unique=True, max_size=13))
    mask = data.draw(st.lists(st.booleans(), min_size=len(first), max_size=len(first)))
    view = planted.acts.where(first).where(np.array(mask, bool))
    rows = [row for row, kept in zip(first, mask, strict=True) if kept]
    assert list(view.frame["id"]) == [f"t{row}" for row in rows]
    assert list(view.frame.index) == list(range(len(rows)))
    assert len(view) == len(rows)
    assert view.count_tokens(SITE) == sum(len(planted.values[row]) for row in rows)
    if rows:
        np.testing.assert_array_equal(view.pooled(SITE), means(planted, rows))
    found: dict[int, list[np.ndarray]] = {}
    for chunk in view.tokens(SITE, chunk=data.draw(st.integers(1, 80))):
        for text in np.unique(chunk.text):
            assert text not in found, "a text was split over chunks"
            found[int(text)] = chunk.values[chunk.text == text]
    assert set(found) == set(range(len(rows)))
    for text, row in enumerate(rows):
        np.testing.assert_array_equal(found[text], planted.values[row])


def test_a_view_may_be_given_as_a_series_of_any_kind(planted: Planted) -> None:
    right = [row for row in range(13) if row % 3 == 1]
    mask = planted.acts.frame["emotion"] == "e1"
    for rows in (mask, mask.tolist(), mask.astype("boolean"), mask.astype(object), right, np.array(right, np.int8)):
        assert list(planted.acts.where(rows).frame["id"]) == [f"t{row}" for row in right]
    assert list(planted.acts.where([-1]).frame["id"]) == ["t12"]
    assert list(planted.acts.where([-1]).rows) == [12]
    assert len(planted.acts.where([])) == 0


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([True, False], "a mask of 2 booleans was given for 13 texts"),
        (np.ones(14, bool), "a mask of 14 booleans"),
        ([0, 1, 0], "named twice"),
        ([12, -1], "named twice"),
        ([13], "row 13 does not exist"),
        ([-14], "row -14 does not exist"),
    ],
)
def test_rows_that_cannot_be_shown_are_refused(planted: Planted, rows: object, said: str) -> None:
    with pytest.raises(StoreError, match=said):
        planted.acts.where(rows)


def test_the_mask_of_a_chunk_is_the_one_that_pooled_the_mean(planted: Planted) -> None:
    for chunk in planted.acts.tokens(SITE, chunk=30):
        assert (np.diff(chunk.position)[np.diff(chunk.text) == 0] == 1).all()
        assert chunk.position.min() >= 1
        owner = planted.acts.rows[chunk.text]
        np.testing.assert_array_equal(chunk.token_id, 100 * owner + chunk.position)
        for text in np.unique(chunk.text):
            own = (chunk.text == text) & chunk.pooled
            # a mean of at most 20 float32 values of order 1: rounding stays near 1e-7
            pooled = planted.acts.pooled(SITE)[text]
            np.testing.assert_allclose(chunk.values[own].mean(axis=0), pooled, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda acts: acts.pooled("resid_post.9"), r"no site 'resid_post\.9' \(did you mean 'resid_post\.[12]'\?\)"),
        (lambda acts: acts.pooled(BARE, "last"), r"no pool 'last' at resid_post\.2 \(there: mean\).*--pool last"),
        (lambda acts: acts.pooled(SITE, "none"), r"no pool 'none' at resid_post\.1 \(there: mean, last\)"),
        (lambda acts: acts.tokens(BARE), r"pooled values only at resid_post\.2; record every token.*--pool none"),
        (lambda acts: acts.shuffled(BARE, batch=2, seed=0), "pooled values only"),
        (lambda acts: acts.count_tokens(BARE), "pooled values only"),
        (lambda acts: acts["mlp_out.1"], r"no site 'mlp_out\.1'"),
    ],
)
def test_what_was_not_recorded_says_what_was(planted: Planted, ask: object, said: str) -> None:
    with pytest.raises(StoreError, match=said):
        ask(planted.acts)


def test_a_site_that_cannot_be_read_is_no_matter_of_the_store(planted: Planted) -> None:
    with pytest.raises(ConfigError, match="unknown stream"):
        planted.acts.pooled("resid_pots.1")


def rows_of(tokens: np.ndarray) -> list[tuple[float, ...]]:
    return sorted(map(tuple, tokens.tolist()))


def stream(acts: Activations, count: int, **options: int) -> list[np.ndarray]:
    return [batch.copy() for batch in islice(acts.shuffled(SITE, **options), count)]


def test_an_epoch_of_a_small_store_is_a_permutation(planted: Planted) -> None:
    tokens = planted.all_tokens
    size = next(size for size in range(2, 20) if len(tokens) % size == 0)
    per_epoch = len(tokens) // size
    batches = stream(planted.acts, 2 * per_epoch, batch=size, seed=1)
    assert {batch.shape for batch in batches} == {(size, 6)}
    assert batches[0].dtype == np.float32
    first, second = np.concatenate(batches[:per_epoch]), np.concatenate(batches[per_epoch:])
    assert rows_of(first) == rows_of(second) == rows_of(tokens)
    assert not np.array_equal(first, second), "an epoch repeats the order of the last"


@pytest.mark.parametrize("buffer", [40, 64, 10_000])
def test_the_stream_leaves_no_token_behind_and_favours_none(planted: Planted, buffer: int) -> None:
    size, epochs = 8, 30
    total = len(planted.all_tokens)
    given = np.concatenate(stream(planted.acts, epochs * total // size, batch=size, seed=2, buffer=buffer))
    counts = pd.Series(list(map(tuple, given.tolist()))).value_counts()
    assert set(counts.index) == set(map(tuple, planted.all_tokens.tolist()))
    # every token enters the buffer once an epoch, so its count lags by what the buffer can hold back
    assert counts.max() <= epochs + 1
    assert counts.mean() == pytest.approx(epochs, rel=0.05)


def test_the_stream_is_decided_by_its_seed(planted: Planted) -> None:
    one, same, other = (np.concatenate(stream(planted.acts, 9, batch=8, seed=seed, buffer=40)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_the_stream_holds_no_more_than_its_buffer(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    from emovec_sae.store import stream as room

    held: list[int] = []
    real = room._mixed

    def spied(parts: list[np.ndarray], random: np.random.Generator) -> np.ndarray:
        held.append(sum(map(len, parts)))
        return real(parts, random)

    monkeypatch.setattr(room, "_mixed", spied)
    stream(planted.acts, 200, batch=8, seed=0, buffer=40)
    longest = max(map(len, planted.values))
    assert len(planted.all_tokens) > 2 * 40
    assert max(held) < 40 + max(40, longest)


def test_the_stream_respects_views(planted: Planted) -> None:
    view = planted.acts.where([2, 7])
    own = {*map(tuple, planted.values[2].tolist()), *map(tuple, planted.values[7].tolist())}
    given = np.concatenate(stream(view, 40, batch=4, seed=0, buffer=16))
    assert set(map(tuple, given.tolist())) == own


def test_a_batch_larger_than_the_store_fills_over_epochs(planted: Planted) -> None:
    view = planted.acts.where([0])
    (batch,) = stream(view, 1, batch=100, seed=0, buffer=4)
    assert batch.shape == (100, 6)
    assert set(map(tuple, batch.tolist())) == set(map(tuple, planted.values[0].tolist()))


def test_a_view_without_tokens_is_an_error_not_an_endless_wait(planted: Planted) -> None:
    with pytest.raises(StoreError, match=r"no token of resid_post\.1 is in this view"):
        next(planted.acts.where([]).shuffled(SITE, batch=4, seed=0))
    assert list(planted.acts.where([]).tokens(SITE)) == []


def test_a_selection_by_label_is_a_view(planted: Planted) -> None:
    acts = planted.acts
    some = acts.select(emotions="e1, e2", groups=["g0"])
    rows = acts.frame.index[acts.frame["emotion"].isin(["e1", "e2"]) & (acts.frame["group"] == "g0")]
    assert some.frame["id"].tolist() == acts.frame["id"][rows].tolist()
    np.testing.assert_array_equal(some.pooled(SITE), acts.pooled(SITE)[rows])
    with pytest.raises(StoreError, match=r"unknown emotion 'e9'.*recorded: e0, e1, e2"):
        acts.select(emotions="e1,e9")


def test_pooled_values_come_in_chunks_too(planted: Planted) -> None:
    some = planted.acts.where([7, 2, 9, 3])
    found = np.full((4, 6), np.nan, np.float32)
    chunks = list(some[SITE].pooled_chunks())
    for rows, values in chunks:
        found[rows] = values
    np.testing.assert_array_equal(found, some.pooled(SITE))
    assert 1 < len(chunks) <= len(planted.acts.shards)


def test_the_ways_out_carry_the_labels(planted: Planted) -> None:
    some = planted.acts.where([7, 2, 9, 3])
    frame = some[SITE].to_pandas()
    assert frame.index.names == ["id", "emotion", "group"]
    np.testing.assert_array_equal(frame.to_numpy(), some.pooled(SITE))
    assert frame.loc[("t2", "e2", "g2")].tolist() == some.pooled(SITE)[1].tolist()
    array = some.to_xarray()
    assert array.dims == ("site", "text", "d_model")
    assert array["site"].to_numpy().tolist() == [str(site) for site in some.sites]
    np.testing.assert_array_equal(array.sel(site=SITE).to_numpy(), some.pooled(SITE))
    assert array["emotion"].to_numpy().tolist() == some.frame["emotion"].tolist()
    assert array.attrs["fingerprint"] == some.fingerprint
    with pytest.raises(StoreError, match="has no pool 'none' to lay out"):
        some.to_xarray("none")


def test_a_missing_xarray_says_how_to_get_it(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(StoreError, match=r"pip install 'emovec_sae\[xarray\]'"):
        planted.acts.to_xarray()
