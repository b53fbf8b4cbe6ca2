"""Held-out evaluation: how well texts are read by directions that never saw their group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from emovec_sae.directions.baseline import choose_baseline, tfidf_scores
from emovec_sae.directions.crossval import Recipe, sweep
from emovec_sae.directions.denoise import NeutralComponents
from emovec_sae.directions.estimators import DiffMean
from emovec_sae.directions.evaluation import Bars, Evaluation, tabulate
from emovec_sae.directions.folds import DirectionEstimator, assign_folds, described
from emovec_sae.directions.ranking import Ranked, rank_texts
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
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Evaluation:
    """Hold groups out in turn and read their texts by directions fitted on the others.

    Vectors, means and deviations come from the training groups alone, denoising from the neutral texts; only the
    readout ``batch_centred`` looks at the held-out texts themselves, and is marked transductive. Where several sites
    are given, the headline numbers are nested: for each held-out fold the site is chosen by held-out folds among its
    training groups.

    Parameters
    ----------
    acts
        A store whose texts have emotions and groups; texts without an emotion are left out.
    sites
        Sites to go through; None means all that were recorded.
    readouts
        Readouts of the table.
    readout
        The readout of the headline, by which sites are chosen, too.
    estimator
        How vectors are fitted; None means `DiffMean`.
    remove
        Neutral components to project out of the vectors, fitted on their own texts.
    pool
        How texts are pooled.
    folds
        Number of folds of whole groups; None holds each group out in turn.
    baseline
        TF-IDF reader on the same folds: ``logistic``, ``centroid``, or ``auto`` (logistic up to 48 emotions).
    level, resamples, seed
        Of the intervals, whose clusters are the groups.

    Returns
    -------
    Evaluation

    Raises
    ------
    ConfigError
        If there is nothing to hold out, or a fold leaves an emotion without texts.
    StoreError
        If a site or pool was not recorded.
    """
    names = list(dict.fromkeys([*map(check_readout, readouts), check_readout(readout)]))
    part, places = labelled(acts), sites_of(acts, sites)
    _need_two(part)
    recipe = Recipe(DiffMean() if estimator is None else estimator, remove, pool)
    fold_of = assign_folds(part.groups, folds=folds)
    choose_by = readout if len(places) > 1 else None
    found = sweep(acts, part, fold_of, sites=places, readouts=names, recipe=recipe, choose_by=choose_by)
    which, n_folds = names.index(readout), int(fold_of.max()) + 1
    chosen = found.chosen(n_folds)[fold_of]
    kind = choose_baseline(baseline, len(part.emotions))
    words = _by_fold(tfidf_scores(list(part.frame["text"]), part.y, fold_of, kind=kind), part.y, fold_of)
    return tabulate(
        part,
        sites=places,
        readings={(at, name): found.at(at, i) for at in range(len(places)) for i, name in enumerate(names)},
        headline=found.at(chosen, which),
        headline_sites=[places[at] for at in chosen],
        words=words,
        emotions=part.emotions,
        readout=readout,
        site=places[found.best(which)],
        baseline=f"TF-IDF, {kind}",
        bars=Bars(level=level, resamples=resamples, seed=seed),
        provenance=_provenance(acts, estimator=recipe.estimator, remove=remove, pool=pool, seed=seed)
        | {"split": "groups held out in turn", "folds": n_folds, "nested": len(places) > 1},
    )


def evaluate_directions(
    directions: DirectionSet,
    held_out: PooledActivations,
    *,
    readouts: Sequence[str] = READOUTS,
    readout: str | None = None,
    labels: Mapping[str, str] | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Evaluation:
    """Read texts by directions that were fitted elsewhere, with the statistics that the directions carry.

    Parameters
    ----------
    directions
        The fitted directions.
    held_out
        A store of the same model that has the directions' site and pool.
    readouts, readout
        Readouts of the table and of the headline; None means the directions' own.
    labels
        Renames labels of these texts to emotions of the set, ``{"joy": "happy"}``.
    level, resamples, seed
        Of the intervals, whose clusters are the groups of these texts.

    Returns
    -------
    Evaluation
        Its summary says under ``seen`` how many of the texts the directions were fitted on; above 0 the numbers are
        no held-out ones.

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
    if held_out.offset != directions.offset and directions.pool == "mean":
        raise MismatchError(
            f"these texts are pooled from token {held_out.offset}, the directions from token {directions.offset}; "
            "record the texts with the same offset"
        )
    part = labelled(held_out, labels=labels)
    known = {name: code for code, name in enumerate(directions.emotions)}
    for name in part.emotions:
        if name not in known:
            raise ConfigError(
                f"the texts carry the emotion '{name}', which the directions lack{suggest(name, known)}; rename it by "
                "a map, or leave these texts out"
            )
    y = np.array([known[name] for name in part.emotions])[part.y]
    values = values_at(held_out, directions.site, directions.pool, part.rows)
    read_as: Callable[[str], Ranked] = lambda name: rank_texts(  # noqa: E731
        read(values, directions.vectors, directions.stats, readout=name), y
    )
    texts = [str(text) for text in part.frame["text"]]
    words = None if directions.words is None else rank_texts(directions.words.scores(texts), y)
    return tabulate(
        part,
        sites=[directions.site],
        readings={(0, name): read_as(name) for name in names},
        headline=read_as(main),
        headline_sites=[directions.site] * len(part),
        words=words,
        emotions=directions.emotions,
        readout=main,
        site=directions.site,
        baseline=None if words is None else "TF-IDF, centroid",
        bars=Bars(level=level, resamples=resamples, seed=seed),
        provenance=collect(
            directions=directions.fingerprint, activations=held_out.fingerprint, corpus_hash=held_out.corpus_hash,
            model=dict(held_out.model), pool=directions.pool, seed=seed, split="held-out texts",
            seen=len(set(map(text_digest, texts)) & set(directions.provenance.get("texts", ()))),
        ),
    )  # fmt: skip


def text_digest(text: str) -> str:
    """Short hash by which a fitted set remembers the texts it saw, 16 hex digits."""
    return digest(text)[:16]


def _need_two(part: Labelled) -> None:
    if len(part.emotions) < 2:
        raise ConfigError(
            f"all texts carry the emotion '{'/'.join(part.emotions)}': a direction needs others to differ from"
        )


def _by_fold(scores: np.ndarray, y: np.ndarray, folds: np.ndarray) -> Ranked:
    """Rank within each fold, as the directions' readings are."""
    rank, predicted, auroc = np.zeros(len(y), np.int64), np.zeros(len(y), np.int64), np.full(len(y), np.nan)
    for fold in np.unique(folds):
        test = folds == fold
        found = rank_texts(scores[test], y[test])
        rank[test], predicted[test], auroc[test] = found.rank, found.predicted, found.auroc
    return Ranked(rank, predicted, auroc)


def _provenance(
    acts: PooledActivations,
    *,
    estimator: DirectionEstimator,
    remove: NeutralComponents | None,
    pool: str,
    seed: int,
) -> dict[str, object]:
    return collect(
        activations=acts.fingerprint,
        corpus_hash=acts.corpus_hash,
        model=dict(acts.model),
        estimator=described(estimator),
        remove=None if remove is None else remove.provenance(),
        pool=pool,
        offset=acts.offset,
        seed=seed,
        seen=0,
    )
