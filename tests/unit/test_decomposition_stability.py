"""Selection under resampling, agreement of supports, shared latents: planted truth and independent counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from memory_store import SITE, MemoryStore, Planted, plant, planted_coder
from scipy import stats

from emovec_sae.decomposition.across_saes import selected_matches
from emovec_sae.decomposition.agreement import agreement, auroc_support
from emovec_sae.decomposition.api import decompose
from emovec_sae.decomposition.resampled import Resampler
from emovec_sae.decomposition.sharing import sharing
from emovec_sae.decomposition.sharing_numbers import participation
from emovec_sae.decomposition.sources import cells_of
from emovec_sae.decomposition.stability import stability
from emovec_sae.directions.fit import fit_directions
from emovec_sae.errors import ConfigError, MismatchError
from emovec_sae.provenance import read_json
from emovec_sae.saes.matching import match_latents

EMOTIONS, GENERIC, D = 8, 3, 40
"""Latents 0 to 2 are generic: of a level of its own in every emotion. Latent 3 + e is raised by emotion e alone."""


def shared_plant(*, groups=8, tokens=12, seed=0, level=1.0):
    rng = np.random.default_rng(seed)
    width = 32
    directions = np.linalg.qr(rng.standard_normal((D, D)))[0][:width]
    levels = 1.5 + level * rng.permuted(np.tile(np.linspace(-1, 1, EMOTIONS), (GENERIC, 1)), axis=1).T
    texts, latents, rows = [], [], []
    for e in range(EMOTIONS):
        for g in range(groups):
            f = np.maximum(rng.standard_normal((tokens, width)) - 1, 0)
            f[:, :GENERIC] = levels[e] + 0.05 * rng.random((tokens, GENERIC))
            f[:, GENERIC + e] += 1.2
            f[:, 20 + g % 4] += 1.0
            texts.append(f @ directions)
            latents.append(f)
            rows.append({"id": f"e{e}.g{g}", "emotion": f"e{e}", "group": f"g{g}", "n_tokens": tokens, "text": "x"})
    store = MemoryStore(texts, pd.DataFrame(rows))
    return Planted(store, latents, directions, np.zeros(D), np.ones(width))


@pytest.fixture(scope="module")
def made():
    planted = shared_plant()
    coder, vectors = planted_coder(planted), fit_directions(planted.store, site=SITE)
    return planted, coder, vectors, decompose(vectors, coder, planted.store, k=4, nulls=0, min_explained=0.2)


def work_of(made):
    planted, coder, vectors, _ = made
    return Resampler(cells_of(vectors, coder, planted.store), coder, np.array(vectors.removed))


def test_groups_weighed_once_give_the_contrast_itself(made):
    _, _, vectors, found = made
    work = work_of(made)
    for e, (delta, vector) in enumerate(work.contrasts(np.ones((1, 8)))):
        np.testing.assert_allclose(vector[0], vectors.vectors[e], atol=1e-5)
        np.testing.assert_allclose(delta[0, found.index], found.coefficients[e], atol=1e-5)
        own = found.ranks[found.ranks["emotion"] == f"e{e}"].sort_values("rank")
        np.testing.assert_array_equal(work.top(delta, vector, 4)[0], own["latent"])
        np.testing.assert_allclose(work.shares(delta, vector)[0, own["latent"]], own["share"], atol=1e-5)


def test_weights_are_repeats_of_groups(made):
    """A group drawn twice counts as if its texts stood there twice: a plain loop over the texts."""
    planted, _, _, _ = made
    weights = np.array([[2.0, 0, 1, 1, 0, 3, 1, 0]])
    means = np.stack([text[planted.store.offset :].mean(0) for text in planted.latents])
    frame = planted.store.frame
    times = frame["group"].str[1:].astype(int).map(dict(enumerate(weights[0]))).to_numpy()
    by_emotion = np.stack(
        [np.average(means[own], axis=0, weights=times[own])
         for own in ((frame["emotion"] == f"e{e}").to_numpy() for e in range(EMOTIONS))]
    )  # fmt: skip
    expected = by_emotion - by_emotion.mean(0)
    for e, (delta, _) in enumerate(work_of(made).contrasts(weights)):
        np.testing.assert_allclose(delta[0], expected[e], atol=1e-4)


def test_planted_latents_are_selected_again_and_permuted_labels_are_not(made, tmp_path):
    planted, coder, vectors, _ = made
    found = stability(vectors, coder, planted.store, k=4, resamples=40, splits=10, nulls=2)
    table = found.frame()
    for e in range(EMOTIONS):
        own = table[(table["emotion"] == f"e{e}") & (table["latent"] == GENERIC + e)]
        assert own["frequency"].tolist() == [1.0]
        assert own["rank"].iloc[0] > 0
    summary = found.summary.set_index("emotion")
    assert (summary["halves"] > summary["null"] + 0.15).mean() > 0.7
    assert (summary["bootstrap"] >= summary["halves"] - 0.05).all()
    assert summary["expected"].unique().tolist() == [4 / found.n_latents]
    assert found.groups == 8
    assert "permuted labels" in repr(found)
    assert found.plot("e3").to_dict()["vconcat"]
    saved = read_json(found.save(tmp_path / "s.json"))
    assert saved["halves"] == pytest.approx(found.summary["halves"].mean())
    only = stability(vectors, coder, planted.store, emotions=["e3"], k=4, resamples=40, splits=10, nulls=0)
    assert only.summary["emotion"].tolist() == ["e3"]


def test_frequencies_are_counts_over_resamples(made):
    """The first latent that is not always selected: its frequency is a share of 40 resamples."""
    planted, coder, vectors, _ = made
    found = stability(vectors, coder, planted.store, k=8, resamples=40, splits=2, nulls=0).frame()
    shares = found["frequency"] * 40
    np.testing.assert_allclose(shares, shares.round(), atol=1e-9)
    assert (found["frequency"] < 1).any()
    late = found[found["rank"] == 0]
    assert (late["frequency"] >= 0.5).all()


def test_stability_refuses_what_it_cannot_do(made):
    planted, coder, vectors, _ = made
    with pytest.raises(ConfigError, match="latents that may be selected, got 99"):
        stability(vectors, coder, planted.store, k=99)
    with pytest.raises(ConfigError, match="dense is 'drp'"):
        stability(vectors, coder, planted.store, dense="drp")
    few = plant(groups=3)
    with pytest.raises(ConfigError, match="3 groups"):
        stability(fit_directions(few.store, site=SITE), planted_coder(few), few.store, k=2)


def test_agreement_counts_overlaps_and_their_chance(made):
    _, _, _, found = made
    other = replace(
        found, method="omp", ranks=found.ranks.assign(latent=lambda t: np.where(t["rank"] <= 2, t["latent"], 31))
    )
    told = agreement([found, other], k=3, live=30)
    row = told.frame().iloc[0]
    assert (row["first"], row["second"], row["n"]) == ("contrast", "omp", EMOTIONS)
    one = told.table.iloc[0]
    assert one["shared"] == 2
    assert one["overlap"] == pytest.approx(2 / 3)
    assert one["jaccard"] == pytest.approx(2 / 4)
    assert one["same_sign"] == 1.0
    assert one["expected"] == pytest.approx(3 / 30)
    draws = np.random.default_rng(0).permuted(np.tile(np.arange(30), (20_000, 1)), axis=1)[:, :3]
    assert one["p"] == pytest.approx(((draws < 3).sum(1) >= 2).mean(), abs=0.003)  # 3 standard errors of 20,000 draws
    assert one["p"] == pytest.approx(stats.hypergeom.sf(1, 30, 3, 3))


def test_agreement_of_real_methods_and_auroc(made, tmp_path):
    planted, coder, vectors, contrast = made
    omp = decompose(vectors, coder, planted.store, method="omp", k=4, nulls=0, min_explained=0.2)
    cells = cells_of(vectors, coder, planted.store)
    told = agreement([contrast, omp], supports={"AUROC": auroc_support(cells, 4)})
    assert told.names == ("contrast", "omp", "AUROC")
    assert told.n_latents == contrast.provenance["live"]
    pair = told.frame().set_index(["first", "second"]).loc[("contrast", "omp")]
    assert pair["overlap"] > 3 * pair["expected"]
    assert pair["above"] > 0.8
    best = {emotion: set(own) for emotion, own in auroc_support(cells, 4).items()}
    assert all(GENERIC + e in best[f"e{e}"] for e in range(EMOTIONS))
    assert told.plot().to_dict()["layer"]
    assert read_json(told.save(tmp_path / "a.json"))["methods"] == ["contrast", "omp", "AUROC"]
    assert "contrast and omp" in repr(told)


def test_agreement_refuses_unlike_decompositions(made):
    _, _, _, found = made
    with pytest.raises(ConfigError, match="two or more"):
        agreement([found])
    with pytest.raises(MismatchError, match="different SAEs"):
        agreement([found, replace(found, sae_fingerprint="0" * 64)])
    with pytest.raises(ConfigError, match="1 to 4 latents"):
        agreement([found, found], k=9)
    with pytest.raises(MismatchError, match="no emotion in common"):
        agreement([found, replace(found, emotions=tuple("abcdefgh"))])
    assert agreement([found, found]).names == ("contrast 1", "contrast 2")


def test_generic_latents_are_found_and_what_they_hold(made, tmp_path):
    _, _, _, found = made
    told = sharing(found, cells=work_of(made), generic=0.4, draws=10)
    table = told.frame().set_index("latent")
    assert set(table.index[table["generic"]]) >= set(range(GENERIC))
    specific = table.loc[[GENERIC + e for e in range(EMOTIONS)]]
    assert not specific["generic"].any()
    assert (specific["participation"] < 3).all()
    assert specific["emotion"].tolist() == [f"e{e}" for e in range(EMOTIONS)]
    assert (table.loc[list(range(GENERIC)), "participation"] > 3).all()
    generic = [j for j in range(len(told.latents)) if told.table["generic"][j]]
    for e, row in enumerate(told.by_emotion.to_dict("records")):
        v = found.vectors[e].astype(float)
        held = sum(found.coefficients[e, j] * found.rows[j] @ v for j in generic) / (v @ v)
        assert row["generic"] == pytest.approx(held, abs=1e-5)
        assert row["generic"] + row["specific"] + row["rest"] == pytest.approx(1)
        projected = np.linalg.lstsq(found.rows[generic].T, v, rcond=None)[0] @ found.rows[generic]
        assert row["span"] == pytest.approx(projected @ projected / (v @ v), abs=1e-5)
    numbers = told.numbers.set_index("number")
    assert numbers.loc["generic share", "value"] == pytest.approx(told.by_emotion["generic"].mean())
    assert "labels permuted" in told.null
    spec = told.plot(n=6).to_dict()
    drawn = {row["latent"] for rows in spec["datasets"].values() for row in rows if "latent" in row}
    assert len(drawn) == 6
    saved = read_json(told.save(tmp_path / "s.json"))
    assert np.shape(saved["matrix"]["delta"]) == told.matrix.shape


def test_what_generic_latents_hold_is_more_than_shuffled_latents_hold(made):
    _, _, _, found = made
    numbers = sharing(found, draws=50).numbers.set_index("number")
    assert numbers.loc["generic share", "value"] > numbers.loc["generic share", "null_high"]
    assert numbers.loc["generic share", "p"] == pytest.approx(2 / 51)
    assert numbers.loc["specific share", "value"] > numbers.loc["specific share", "null_high"]
    assert numbers.loc["generic span", "null"] == pytest.approx(numbers.loc["generic span", "value"])


def test_participation_is_an_effective_number():
    table = np.array([[1.0, 1, 0, 3], [1, 0, 0, 0], [1, 0, 0, 0], [-1, 1, 0, 0]])
    np.testing.assert_allclose(participation(table), [4, 2, 0, 1])


def test_clusters_hold_latents_with_one_profile(made):
    _, _, _, found = made
    twin = found.coefficients[:, 0] * 2
    more = replace(found, coefficients=np.c_[found.coefficients, twin], index=np.append(found.index, 31),
                   rows=np.vstack([found.rows, found.rows[:1]]))  # fmt: skip
    table = sharing(more, draws=5).table.set_index("latent")
    assert table.loc[31, "cluster"] == table.loc[found.index[0], "cluster"]
    assert table["cluster"].nunique() > 3


def test_sharing_refuses_what_it_cannot_do(made):
    _, _, _, found = made
    with pytest.raises(ConfigError, match="three are needed"):
        sharing(replace(found, emotions=("a", "b")))
    with pytest.raises(ConfigError, match="above 0"):
        sharing(found, generic=0)
    with pytest.raises(ConfigError, match="made by 'omp'"):
        sharing(replace(found, method="omp"), cells=work_of(made))


def test_selected_latents_are_followed_into_another_sae(made, tmp_path):
    """The same dictionary in another order with latents 3 and 4 replaced: their emotions lose a partner."""
    planted, coder, vectors, first = made
    order = np.random.default_rng(0).permutation(32)
    rows = planted.directions[order].copy()
    gone = np.isin(order, [GENERIC, GENERIC + 1])
    rows[gone] = np.linalg.svd(planted.directions)[2][[-1, -2]]
    other = planted_coder(replace(planted, directions=rows))
    second = decompose(vectors, other, planted.store, k=4, nulls=0, min_explained=0.1)
    matching = match_latents(coder, other, planted.store, draws=1)
    found = selected_matches(matching, first, second)
    table = found.frame().set_index("emotion")
    for e in range(EMOTIONS):
        own = set(first.latents(f"e{e}")[0].tolist())
        kept = {int(np.flatnonzero(order == latent)[0]) for latent in own - {GENERIC, GENERIC + 1}}
        assert table.loc[f"e{e}", "matched"] == pytest.approx(len(kept) / 4)
        assert table.loc[f"e{e}", "selected"] == pytest.approx(len(kept & set(second.latents(f"e{e}")[0].tolist())) / 4)
    assert table.loc["e0", "matched"] < 1
    summary = found.summary().set_index("number")
    assert summary.loc["selected", "value"] > 2 * summary.loc["selected", "null"]
    assert found.plot().to_dict()["vconcat"]
    assert read_json(found.save(tmp_path / "m.json"))["k"] == 4
    with pytest.raises(MismatchError, match="matching is one of SAE"):
        selected_matches(matching, second, first)
    with pytest.raises(ConfigError, match="not by 'name'"):
        selected_matches(matching, first, second, by="name")
