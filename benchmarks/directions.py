"""Fitting directions beside scikit-learn written plainly: every estimator, every site, and topics held out in turn.

    .venv/bin/python benchmarks/directions.py FOLDER [--sites 4] [--rounds 3]

FOLDER is a recording of labelled texts (``emovec record stories --sites 'resid_post.*' --out FOLDER``). Both sides read
the same arrays in turn, in one process, with one thread of linear algebra; quote ratios. ``fit`` is one fit a site;
``held out`` leaves each topic out in turn, which ours does by subtracting moments where it can. ``chunks`` fits in one
pass over the shards and states the memory that it took. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.covariance import OAS
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import LeaveOneGroupOut
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from emovec_sae import open_activations
from emovec_sae.corpora.norms import load_norms
from emovec_sae.directions.estimators import (
    DiffMean,
    LogisticProbe,
    PCADirection,
    RidgeAxis,
    ShrinkageLDA,
    WhitenedDiffMean,
)
from emovec_sae.directions.folds import FoldedVectors, assign_folds
from emovec_sae.directions.source import labelled
from emovec_sae.directions.threads import one_thread


def plain_whitened(X: np.ndarray, y: np.ndarray) -> Any:
    """Class means through the precision of all rows."""
    scaled = StandardScaler().fit_transform(X)
    means = np.stack([scaled[y == code].mean(axis=0) for code in np.unique(y)])
    return (means - means.mean(axis=0)) @ OAS().fit(scaled).precision_


def plain_pca(X: np.ndarray, y: np.ndarray) -> Any:
    """A PCA a class of its rows less the mean of the others."""
    return [PCA(1).fit(X[y == code] - X[y != code].mean(axis=0)).components_ for code in np.unique(y)]


PAIRS: dict[str, tuple[Any, Callable[[np.ndarray, np.ndarray], Any]]] = {
    "DiffMean": (DiffMean(), lambda X, y: NearestCentroid().fit(X, y)),
    "WhitenedDiffMean": (WhitenedDiffMean(), plain_whitened),
    "ShrinkageLDA": (
        ShrinkageLDA(),
        lambda X, y: LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=OAS()).fit(X, y),
    ),
    "PCADirection": (PCADirection(), plain_pca),
    "LogisticProbe": (
        LogisticProbe(),
        lambda X, y: make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500)).fit(X, y),
    ),
}
"""Ours, and what a newcomer would write."""
HELD_OUT = ("DiffMean", "WhitenedDiffMean", "ShrinkageLDA")


def timed(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def compare(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> dict[str, float]:
    """Medians in turn, and how many times faster ours is."""
    pairs = [(timed(ours), timed(theirs)) for _ in range(rounds)]
    mine, plain = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratios = sorted(b / a for a, b in pairs)
    return {"seconds": round(mine, 4), "scikit_learn": round(plain, 4), "times_faster": round(plain / mine, 2),
            "from": round(ratios[0], 2), "to": round(ratios[-1], 2)}  # fmt: skip


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--sites", type=int, default=4, help="so many of the recorded sites, evenly spread")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    acts = open_activations(given.folder)
    part = labelled(acts, least=2)
    every = sorted(acts.sites)
    sites = [every[int(at)] for at in np.linspace(0, len(every) - 1, min(given.sites, len(every))).round()]
    arrays = [acts.pooled(site)[part.rows] for site in sites]
    y, folds = part.y, assign_folds(part.groups)
    told: dict[str, Any] = {
        "texts": len(part), "emotions": len(part.emotions), "d_model": len(arrays[0][0]),
        "sites": [str(site) for site in sites], "fit": {}, "held_out": {}, "chunks": {},
    }  # fmt: skip
    with one_thread():
        for name, (estimator, plain) in PAIRS.items():
            told["fit"][name] = compare(
                lambda estimator=estimator: [estimator.fit(X, y) for X in arrays],
                lambda plain=plain: [plain(X, y) for X in arrays],
                1 if name == "LogisticProbe" else given.rounds,
            )
            sys.stderr.write(f"{name}: {told['fit'][name]}\n")
        norms = load_norms().set_index("emotion")["valence"]
        target = np.array([norms[part.emotions[code]] for code in y])
        alphas = RidgeAxis().alphas
        told["fit"]["RidgeAxis"] = compare(
            lambda: [RidgeAxis().fit(X, target) for X in arrays],
            lambda: [make_pipeline(StandardScaler(), RidgeCV(alphas)).fit(X, target) for X in arrays],
            given.rounds,
        )
        for name in HELD_OUT:
            estimator, plain = PAIRS[name]
            told["held_out"][name] = compare(
                lambda estimator=estimator: ours_held_out(arrays[0], y, folds, part.emotions, estimator),
                lambda plain=plain: [plain(arrays[0][train], y[train]) for train, _ in
                                     LeaveOneGroupOut().split(arrays[0], y, folds)],
                1,
            )  # fmt: skip
            sys.stderr.write(f"{name}, held out: {told['held_out'][name]}\n")
        told["chunks"] = {name: chunked(acts, sites[0], part.rows, y, PAIRS[name][0]) for name in HELD_OUT}
    sys.stdout.write(json.dumps(told) + "\n")


def ours_held_out(X: np.ndarray, y: np.ndarray, folds: np.ndarray, emotions: Any, estimator: Any) -> None:
    """Vectors without each fold in turn."""
    made = FoldedVectors(X, y, folds, emotions=emotions, estimator=estimator)
    for fold in range(int(folds.max()) + 1):
        made.without([fold])


def chunked(acts: Any, site: Any, rows: np.ndarray, y: np.ndarray, estimator: Any) -> dict[str, float]:
    """One pass over the shards: peak memory beside that of the whole array, and how far the vectors differ."""
    label = np.full(len(acts.frame), -1)
    label[rows] = y
    tracemalloc.start()
    chunks = 0
    fresh = type(estimator)(**estimator.get_params())
    for where, values in acts.pooled_chunks(site):
        keep = label[where] >= 0
        fresh.partial_fit(values[keep], label[where][keep], classes=np.unique(y))
        chunks += 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    whole = type(estimator)(**estimator.get_params()).fit(acts.pooled(site)[rows], y)
    gap = float(np.abs(fresh.vectors_ - whole.vectors_).max() / np.abs(whole.vectors_).max())
    return {"chunks": chunks, "peak_mib": round(peak / 2**20, 1), "relative_gap": gap}


if __name__ == "__main__":
    main()
