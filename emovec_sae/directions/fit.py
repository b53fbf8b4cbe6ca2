"""Fit emotion directions on a store of activations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from emovec_sae.directions.baseline import WordCentroids, has_words
from emovec_sae.directions.crossval import Recipe, sweep
from emovec_sae.directions.denoise import NeutralComponents, project_out
from emovec_sae.directions.direction_set import DirectionSet
from emovec_sae.directions.estimators import DiffMean
from emovec_sae.directions.evaluate import text_digest
from emovec_sae.directions.folds import DirectionEstimator, assign_folds, described, fit_vectors, fresh
from emovec_sae.directions.readouts import (
    AUTO,
    READOUTS,
    TRANSDUCTIVE,
    ReadoutStats,
    balanced_weights,
    check_readout,
)
from emovec_sae.directions.source import Labelled, PooledActivations, labelled, values_at
from emovec_sae.errors import ConfigError
from emovec_sae.provenance import collect
from emovec_sae.sites import Site

INNER_FOLDS = 8
"""Most folds with which ``site="auto"`` chooses: each group held out in turn up to this many groups."""


def fit_directions(
    acts: PooledActivations,
    *,
    site: str | Site = "auto",
    estimator: DirectionEstimator | None = None,
    remove: NeutralComponents | None = None,
    pool: str = "mean",
    readout: str = "zscore",
    seed: int = 0,
) -> DirectionSet:
    """Fit one direction an emotion, at one site.

    Parameters
    ----------
    acts
        A store whose texts have emotions and groups; texts without an emotion are left out. Only these texts are
        looked at: leave out what is to be tested on (``acts.where(...)``).
    site
        A recorded site, or ``auto``: the site with the highest top-1 when whole groups are held out inside `acts`.
    estimator
        How vectors are fitted; None means `DiffMean`.
    remove
        Neutral components to project out, such as ``NeutralComponents(neutral)``.
    pool
        How texts are pooled.
    readout
        The readout that the set recommends, by which the site is chosen; ``auto`` chooses it with the site, among
        those that are not transductive.
    seed
        Recorded; handed to an estimator that has a `random_state` of None.

    Raises
    ------
    ConfigError
        If no text carries an emotion, or there is one emotion only.
    StoreError
        If the site or pool was not recorded.
    MismatchError
        If the neutral texts come from another model.
    """
    part = labelled(acts, least=2)
    recipe = Recipe(_seeded(DiffMean() if estimator is None else estimator, seed), remove, pool)
    place, readout, chosen = _place(acts, part, site=site, readout=readout, recipe=recipe)
    texts = [str(text) for text in part.frame["text"]]
    provenance = collect(
        seed=seed,
        site_choice=chosen,
        remove=None if remove is None else remove.provenance(),
        **_written(acts, part),
        texts=sorted({text_digest(text) for text in texts}),
    )
    words = WordCentroids.fit(texts, part.y, len(part.emotions)) if has_words(texts) else None
    return _fitted(acts, part, place=place, recipe=recipe, readout=readout, words=words, provenance=provenance)


def _fitted(
    acts: PooledActivations,
    part: Labelled,
    *,
    place: Site,
    recipe: Recipe,
    readout: str,
    words: WordCentroids | None,
    provenance: Mapping[str, Any],
) -> DirectionSet:
    values = values_at(acts, place, recipe.pool, part.rows)
    fitted = fit_vectors(fresh(recipe.at(acts, place)), values, part.y, part.groups)
    removed = recipe.components(acts, place)
    vectors = project_out(np.asarray(fitted.vectors_, dtype=np.float64), removed)
    norm, norm_of = _residual_norm(acts, recipe.remove, place)
    return DirectionSet(
        emotions=part.emotions,
        vectors=vectors.astype(np.float32),
        removed=removed.astype(np.float32),
        site=place,
        model=dict(acts.model),
        corpus_hash=acts.corpus_hash,
        activations=acts.fingerprint,
        pool=recipe.pool,
        offset=acts.offset,
        residual_norm=norm,
        residual_norm_of=norm_of,
        n_texts=np.bincount(part.y),
        groups=part.group_names,
        stats=ReadoutStats.fit(values.astype(np.float64), vectors, balanced_weights(part.y)),
        readout=readout,
        estimator=described(recipe.estimator),
        provenance=provenance,
        words=words,
    )


def _place(
    acts: PooledActivations, part: Labelled, *, site: str | Site, readout: str, recipe: Recipe
) -> tuple[Site, str, Mapping[str, Any]]:
    """The site and the readout, and how they were chosen."""
    places = sorted(acts.sites) if site == AUTO else [Site.parse(site)]
    among = [name for name in READOUTS if name not in TRANSDUCTIVE] if readout == AUTO else [check_readout(readout)]
    if len(places) * len(among) == 1:
        return places[0], among[0], {"how": "given" if site != AUTO else "the only one recorded"}
    many = len(part.group_names) > INNER_FOLDS
    folds = assign_folds(part.groups, folds=INNER_FOLDS if many else None)
    found = sweep(acts, part, folds, sites=places, readouts=among, recipes=[recipe], among=among)
    _, at, which = found.best()
    top1 = (found.rank[0, :, which] <= 1).mean(axis=1)
    scores = {str(place): round(float(share), 4) for place, share in zip(places, top1, strict=True)}
    told = {"how": "inner held-out groups, top-1", "readout": among[which], "top1": scores}
    return places[at], among[which], told


def _written(acts: PooledActivations, part: Labelled) -> dict[str, Any]:
    """What the store says of its texts, as it says it: the name of the corpus, and who wrote them."""
    settings = getattr(acts, "settings", {})
    named = settings.get("corpus", {}).get("name")
    writers = sorted(part.frame["writer"].dropna().astype(str).unique()) if "writer" in part.frame else []
    return {name: value for name, value in (("corpus", named), ("writers", writers)) if value}


def _seeded(estimator: DirectionEstimator, seed: int) -> DirectionEstimator:
    """The estimator, with the run's seed where it draws at random and was given none; the caller's stays as it is."""
    params = estimator.get_params()
    if params.get("random_state", 0) is not None:
        return estimator
    return fresh(estimator, random_state=seed)


def _residual_norm(acts: PooledActivations, remove: NeutralComponents | None, site: Site) -> tuple[float, str]:
    """Mean residual norm at the site and the hash of its texts: the neutral ones where they are at hand."""
    neutral = None if remove is None else remove.neutral
    source = acts if neutral is None or isinstance(neutral, np.ndarray) else neutral
    if str(site) not in source.residual_norm:
        raise ConfigError(f"the store has no residual norm at {site}; record it again")
    return float(source.residual_norm[str(site)]), source.corpus_hash
