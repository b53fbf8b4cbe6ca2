"""Held-out evaluation: how well texts are read by directions that never saw their group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from emovec_sae.directions.baseline import choose_baseline, tfidf_scores
from emovec_sae.directions.crossval import Recipe, sweep
from emovec_sae.directions.denoise import NeutralComponents
from emovec_sae.directions.estimators import DiffMean
from emovec_sae.directions.evaluation import Bars, Evaluation, Readings, tabulate
from emovec_sae.directions.folds import DirectionEstimator, assign_folds, described
from emovec_sae.directions.ranking import rank_by_fold, rank_texts
from emovec_sae.directions.readouts import READOUTS, check_readout, read
from emovec_sae.directions.source import Labelled, PooledActivations, labelled, sites_of, values_at
from emovec_sae.errors import ConfigError, MismatchError, suggest
from emovec_sae.provenance import collect, digest
from emovec_sae.sites import Site

if TYPE_CHECKING:
    from collections.abc import Mapping

    from emovec_sae.directions.direction_set import DirectionSet


def cross_validate(
    acts: PooledActivations,
    *,
    sites: str | Site | Sequence[str | Site] | None = None,
    readouts: Sequence[str] = READOUTS,
    readout: str = "zscore",
    estimator: DirectionEstimator | None = None,
    remove: NeutralComponents | None = None,
    pool: str = "mean",
    folds: int | None = None,
    baseline: str = "auto",
    seed: int = 0,
) -> Evaluation:
    """Hold groups out in turn and read their texts by directions fitted on the others.

    Vectors, means and deviations come from the training groups alone, denoising from the neutral texts; only the
    readout ``batch_centred`` looks at the held-out texts themselves, and is marked transductive. Over several sites
    the headline is nested: each held-out fold's site is chosen by held-out folds among its training groups.

    Parameters
    ----------
    acts
        A store whose texts have emotions and groups; texts without an emotion are left out.
    sites
        Sites to go through; None means all that were recorded.
    readouts, readout
        Readouts of the table, and the one of the headline, by which sites are chosen, too.
    estimator, remove, pool
        As in `fit_directions`.
    folds
        Number of folds of whole groups; None holds each group out in turn.
    baseline
        TF-IDF reader on the same folds: ``logistic``, ``centroid``, or ``auto`` (logistic up to 48 emotions).
    seed
        Of the intervals, whose clusters are the groups.

    Raises
    ------
    ConfigError, StoreError
        If there is nothing to hold out or a fold leaves an emotion without texts; if a site was not recorded.
    """
    names = list(dict.fromkeys([*map(check_readout, readouts), check_readout(readout)]))
    part, places = labelled(acts, least=2), sites_of(acts, sites)
    recipe = Recipe(DiffMean() if estimator is None else estimator, remove, pool)
    fold_of = assign_folds(part.groups, folds=folds)
    kind = choose_baseline(baseline, len(part.emotions))
    choose_by = readout if len(places) > 1 else None
    found = sweep(acts, part, fold_of, sites=places, readouts=names, recipe=recipe, choose_by=choose_by)
    which, n_folds = names.index(readout), int(fold_of.max()) + 1
    chosen = found.chosen(n_folds)[fold_of]
    table = {(place, name): found.at(at, i) for at, place in enumerate(places) for i, name in enumerate(names)}
    words = rank_by_fold(tfidf_scores(list(part.frame["text"]), part.y, fold_of, kind=kind), part.y, fold_of)
    return tabulate(
        Readings(part, part.emotions, table, found.at(chosen, which), [places[at] for at in chosen], words),
        readout=readout,
        site=places[found.best(which)],
        baseline=f"TF-IDF, {kind}",
        bars=Bars(seed=seed),
        provenance=_provenance(acts, recipe=recipe, folds=n_folds, nested=choose_by is not None, seed=seed),
    )


def evaluate_directions(
    directions: DirectionSet,
    held_out: PooledActivations,
    *,
    readouts: Sequence[str] = READOUTS,
    readout: str | None = None,
    labels: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Evaluation:
    """Read texts by directions that were fitted elsewhere, with the statistics that the directions carry.

    Parameters
    ----------
    directions
        The fitted directions.
    held_out
        A store of the same model that has the directions' site and pool. The summary says under ``seen`` how many of
        its texts the directions were fitted on; above 0 the numbers are no held-out ones.
    readouts, readout
        Readouts of the table and of the headline; None means the directions' own.
    labels
        Renames labels of these texts to emotions of the set, ``{"joy": "happy"}``.
    seed
        Of the intervals, whose clusters are the groups of these texts.

    Raises
    ------
    MismatchError
        If the texts were recorded from another model or pooled from another token on.
    ConfigError
        If a label is none of the set's emotions.
    """
    main = check_readout(directions.readout if readout is None else readout)
    names = list(dict.fromkeys([*map(check_readout, readouts), main]))
    directions.check_model(held_out.model)
    _check_pooling(directions, held_out)
    part = labelled(held_out, labels=labels)
    y = _codes(part, directions)
    values = values_at(held_out, directions.site, directions.pool, part.rows)
    table = {
        (directions.site, name): rank_texts(read(values, directions.vectors, directions.stats, readout=name), y)
        for name in names
    }
    texts = [str(text) for text in part.frame["text"]]
    words = None if directions.words is None else rank_texts(directions.words.scores(texts), y)
    known = set(directions.provenance.get("texts", ()))
    headline, headline_sites = table[directions.site, main], [directions.site] * len(part)
    return tabulate(
        Readings(part, directions.emotions, table, headline, headline_sites, words),
        readout=main,
        site=directions.site,
        baseline=None if words is None else "TF-IDF, centroid",
        bars=Bars(seed=seed),
        provenance=collect(
            directions=directions.fingerprint, activations=held_out.fingerprint, corpus_hash=held_out.corpus_hash,
            model=dict(held_out.model), seed=seed, split="held-out texts",
            seen=sum(text_digest(text) in known for text in texts),
        ),
    )  # fmt: skip


def _check_pooling(directions: DirectionSet, held_out: PooledActivations) -> None:
    if directions.pool == "mean" and held_out.offset != directions.offset:
        raise MismatchError(
            f"these texts are pooled from token {held_out.offset} on, the directions from token {directions.offset}; "
            f"record the texts with the offset {directions.offset}"
        )


def _codes(part: Labelled, directions: DirectionSet) -> np.ndarray:
    """Rows of the set that the texts' emotions are, shape (n,)."""
    known = {name: code for code, name in enumerate(directions.emotions)}
    for name in part.emotions:
        if name not in known:
            raise ConfigError(
                f"the texts carry the emotion '{name}', which the directions lack{suggest(name, known)}; rename it by "
                "a map, or leave these texts out"
            )
    return np.array([known[name] for name in part.emotions])[part.y]


def text_digest(text: str) -> str:
    """Short hash by which a fitted set remembers the texts it saw, 16 hex digits."""
    return digest(text)[:16]


def _provenance(acts: PooledActivations, *, recipe: Recipe, folds: int, nested: bool, seed: int) -> dict[str, Any]:
    return collect(
        activations=acts.fingerprint,
        corpus_hash=acts.corpus_hash,
        model=dict(acts.model),
        estimator=described(recipe.estimator),
        remove=None if recipe.remove is None else recipe.remove.provenance(),
        pool=recipe.pool,
        offset=acts.offset,
        split="groups held out in turn",
        folds=folds,
        nested=nested,
        seed=seed,
        seen=0,
    )
