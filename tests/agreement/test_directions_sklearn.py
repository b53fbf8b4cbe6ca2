"""The fast sweep against plain scikit-learn: one refit a held-out topic, no shared sums, no shared projections."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneGroupOut
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import normalize

from emovec_sae.directions import READOUTS, DiffMean, NeutralComponents, cross_validate
from emovec_sae.directions.baseline import WordCentroids, tfidf_scores
from emovec_sae.directions.crossval import Recipe, sweep
from emovec_sae.directions.readouts import ReadoutStats, balanced_weights, read
from emovec_sae.directions.source import labelled
from emovec_sae.sites import Site

SITES = (Site("resid_post", 0), Site("resid_post", 1), Site("resid_post", 2))
WORDS = "rain lamp road garden letter window paper river stone table cold warm bright".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def acts() -> SimpleNamespace:
    random = np.random.default_rng(5)
    y, group = np.repeat(np.arange(5), 12), np.tile(np.repeat(np.arange(4), 3), 5)
    keep = random.random(60) > 0.1  # uneven cells
    y, group = y[keep], group[keep]
    truth, offset = random.normal(size=(5, 16)), 20 * random.normal(size=16)
    values = {
        site: (offset + gain * truth[y] + random.normal(size=(len(y), 16))).astype(np.float32)
        for site, gain in zip(SITES, (0.3, 0.6, 0.5), strict=True)
    }
    texts = [" ".join(random.choice(WORDS, 8)) + f" {WORDS[code]}" for code in y]
    frame = pd.DataFrame(
        {
            "id": [f"t{i}" for i in range(len(y))],
            "text": texts,
            "emotion": [f"e{c}" for c in y],
            "group": [f"g{c}" for c in group],
        }
    )
    return SimpleNamespace(
        frame=frame, sites=SITES, pools=("mean",), offset=0, corpus_hash="c", fingerprint="f", residual_norm={},
        model={"name": "m", "fingerprint": "m", "d_model": 16, "n_layers": 3},
        pooled=lambda site, pool="mean": values[site],
    )  # fmt: skip


def plain_scores(
    values: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray, removed: np.ndarray, readout: str
):
    vectors = DiffMean().fit(values[train].astype(float), y[train]).vectors_
    vectors = vectors - vectors @ removed.T @ removed
    stats = ReadoutStats.fit(values[train].astype(float), vectors, balanced_weights(y[train]))
    return read(values[test].astype(float), vectors, stats, readout=readout)


@pytest.mark.parametrize("denoise", [False, True])
def test_every_rank_of_the_sweep(acts, denoise: bool) -> None:
    neutral = np.random.default_rng(1).normal(size=(30, 16)) * np.linspace(4, 0.1, 16)
    remove = NeutralComponents(neutral, share=0.4) if denoise else None
    removed = NeutralComponents(share=0.4).fit(neutral).components_ if denoise else np.zeros((0, 16))
    part = labelled(acts)
    recipes = [Recipe(DiffMean(), remove, "mean")]
    found = sweep(acts, part, part.groups, sites=SITES, readouts=READOUTS, recipes=recipes, among=["zscore"])
    for at, site in enumerate(SITES):
        values = acts.pooled(site)
        for which, readout in enumerate(READOUTS):
            for train, test in LeaveOneGroupOut().split(values, part.y, part.groups):
                scores = plain_scores(values, part.y, train, test, removed, readout)
                own = scores[np.arange(len(test)), part.y[test]]
                np.testing.assert_array_equal(found.rank[0, at, which, test], 1 + (scores > own[:, None]).sum(axis=1))
                np.testing.assert_array_equal(found.predicted[0, at, which, test], scores.argmax(axis=1))


def test_nested_choice_of_the_site(acts) -> None:
    part = labelled(acts)
    wanted = {}
    for outer in range(4):
        hits = np.zeros((3, 2))
        for inner in set(range(4)) - {outer}:
            train, test = np.flatnonzero(~np.isin(part.groups, [outer, inner])), np.flatnonzero(part.groups == inner)
            for at, site in enumerate(SITES):
                scores = plain_scores(acts.pooled(site), part.y, train, test, np.zeros((0, 16)), "zscore")
                rank = 1 + (scores > scores[np.arange(len(test)), part.y[test]][:, None]).sum(axis=1)
                hits[at] += (rank == 1).sum(), (rank <= 5).sum()
        wanted[f"g{outer}"] = str(SITES[max(range(3), key=lambda at: (hits[at][0], hits[at][1], -at))])
    found = cross_validate(acts, readouts=["zscore"]).texts.groupby("group")["site"].unique()
    assert {group: list(sites) for group, sites in found.items()} == {group: [site] for group, site in wanted.items()}


def test_diff_mean_against_the_class_means_of_nearest_centroid(acts) -> None:
    X, y = acts.pooled(SITES[1]).astype(float), acts.frame["emotion"]
    centroids = NearestCentroid().fit(X, y).centroids_
    np.testing.assert_allclose(DiffMean().fit(X, y).vectors_, centroids - centroids.mean(axis=0), atol=1e-10)


def test_the_baseline_is_plain_tf_idf_of_the_training_texts(acts) -> None:
    part, texts = labelled(acts), np.array(acts.frame["text"].tolist())
    fast = {kind: tfidf_scores(list(texts), part.y, part.groups, kind=kind) for kind in ("centroid", "logistic")}
    for train, test in LeaveOneGroupOut().split(texts, part.y, part.groups):
        weigh = TfidfVectorizer().fit(texts[train])
        known, new = weigh.transform(texts[train]).toarray(), weigh.transform(texts[test]).toarray()
        centroids = normalize(np.stack([known[part.y[train] == code].mean(axis=0) for code in range(5)]))
        np.testing.assert_allclose(fast["centroid"][test], new @ centroids.T, atol=1e-12)
        wanted = LogisticRegression(C=10.0, max_iter=2000).fit(known, part.y[train]).decision_function(new)
        # lbfgs stops at a gradient of 1e-4: the two data layouts end up to 2e-3 apart, scores span about 6.
        np.testing.assert_allclose(fast["logistic"][test], wanted, atol=0.02)


def test_a_stored_baseline_reads_as_tf_idf_does(acts) -> None:
    part, texts = labelled(acts), acts.frame["text"].tolist()
    made = WordCentroids.fit(texts, part.y, 5)
    weigh = TfidfVectorizer().fit(texts)
    known = weigh.transform(texts).toarray()
    centroids = normalize(np.stack([known[part.y == code].mean(axis=0) for code in range(5)]))
    new = ["rain on the lamp", "a letter, a letter", "unknown"]
    np.testing.assert_allclose(made.scores(new), weigh.transform(new).toarray() @ centroids.T, atol=1e-12)
    again = WordCentroids.from_arrays(made.arrays(), made.vocabulary)
    # idf and weights are stored as float32.
    np.testing.assert_allclose(again.scores(new), made.scores(new), atol=1e-6)
