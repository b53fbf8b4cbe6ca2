"""Held-out evaluation: how well texts are read by directions that never saw their group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from emovec_sae.directions.baseline import choose_baseline, tfidf_scores
from emovec_sae.directions.crossval import Recipe, Sweep, sweep
from emovec_sae.directions.denoise import NeutralComponents
from emovec_sae.directions.estimators import DiffMean
from emovec_sae.directions.evaluation import Bars, Evaluation, Readings, Way, tabulate
from emovec_sae.directions.folds import DirectionEstimator, assign_folds, described, short
from emovec_sae.directions.ranking import rank_by_fold, rank_texts
from emovec_sae.directions.readouts import AUTO, READOUTS, TRANSDUCTIVE, check_readout, read
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
    estimator: DirectionEstimator | Sequence[DirectionEstimator] | None = None,
    remove: NeutralComponents | None = None,
    pool: str = "mean",
    folds: int | None = None,
    baseline: str = "auto",
    seed: int = 0,
) -> Evaluation:
    """Hold groups out in turn and read their texts by directions fitted on the others.

    Vectors, means and deviations come from the training groups alone, denoising from the neutral texts; only the
    readout ``batch_centred`` looks at the held-out texts themselves, and is marked transductive. Over several sites,
    estimators or readouts the headline is nested: each held-out fold is read in the way (estimator, site, readout)
    that held-out folds among its training groups favour.

    Parameters
    ----------
    acts
        A store whose texts have emotions and groups; texts without an emotion are left out.
    sites
        Sites to go through; None means all that were recorded.
    readouts, readout
        Readouts of the table, and the one of the headline, by which sites are chosen, too; ``auto`` chooses it among
        those of the table that are not transductive.
    estimator
        As in `fit_directions`; of several, the headline's is chosen like its site.
    remove, pool
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
    names, among = _readouts(readouts, readout)
    part, places = labelled(acts, least=2), sites_of(acts, sites)
    recipes = [Recipe(one, remove, pool) for one in _several(estimator)]
    fold_of = assign_folds(part.groups, folds=folds)
    kind = choose_baseline(baseline, len(part.emotions))
    nested = len(places) * len(recipes) * len(among) > 1
    found = sweep(acts, part, fold_of, sites=places, readouts=names, recipes=recipes, among=among, nested=nested)
    n_folds = int(fold_of.max()) + 1
    ways = [Way(short(recipe.estimator), place, name) for recipe in recipes for place in places for name in names]
    table = {way: found.at(np.array(where)) for way, where in zip(ways, np.ndindex(found.rank.shape[:3]), strict=True)}
    chosen = found.chosen(n_folds)
    words = rank_by_fold(tfidf_scores(list(part.frame["text"]), part.y, fold_of, kind=kind), part.y, fold_of)
    read_by = [ways[_flat(way, found)] for way in chosen]
    return tabulate(
        Readings(part, part.emotions, table, found.at(chosen[fold_of]), [read_by[fold] for fold in fold_of], words),
        way=ways[_flat(found.best(), found)],
        baseline=f"TF-IDF, {kind}",
        bars=Bars(seed=seed),
        provenance=_provenance(acts, recipes=recipes, folds=n_folds, nested=nested, seed=seed),
    )


def _readouts(readouts: Sequence[str], readout: str) -> tuple[list[str], list[str]]:
    """Readouts of the table, and those among which the headline's is chosen."""
    names = [check_readout(name) for name in dict.fromkeys(readouts)]
    if readout != AUTO:
        return ([*names, readout] if check_readout(readout) not in names else names), [readout]
    among = [name for name in names if name not in TRANSDUCTIVE]
    if not among:
        raise ConfigError(f"readout auto has nothing to choose from: {', '.join(names)} looks at the tested texts")
    return names, among


def _several(estimator: DirectionEstimator | Sequence[DirectionEstimator] | None) -> list[DirectionEstimator]:
    if estimator is None:
        return [DiffMean()]
    return list(estimator) if isinstance(estimator, Sequence) else [estimator]


def _flat(way: np.ndarray, found: Sweep) -> int:
    return int(np.ravel_multi_index(tuple(way), found.rank.shape[:3]))


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
    made = str(directions.estimator.get("name"))
    table = {
        Way(made, directions.site, name): rank_texts(
            read(values, directions.vectors, directions.stats, readout=name), y
        )
        for name in names
    }
    texts = [str(text) for text in part.frame["text"]]
    words = None if directions.words is None else rank_texts(directions.words.scores(texts), y)
    known = set(directions.provenance.get("texts", ()))
    way = Way(made, directions.site, main)
    return tabulate(
        Readings(part, directions.emotions, table, table[way], [way] * len(part), words),
        way=way,
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


def _provenance(
    acts: PooledActivations, *, recipes: Sequence[Recipe], folds: int, nested: bool, seed: int
) -> dict[str, Any]:
    return collect(
        activations=acts.fingerprint,
        corpus_hash=acts.corpus_hash,
        model=dict(acts.model),
        estimators=[described(recipe.estimator) for recipe in recipes],
        remove=None if recipes[0].remove is None else recipes[0].remove.provenance(),
        pool=recipes[0].pool,
        offset=acts.offset,
        split="groups held out in turn",
        folds=folds,
        nested=nested,
        seed=seed,
        seen=0,
    )
