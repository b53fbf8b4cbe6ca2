"""Controls: arms that should not do what the vector does, each wrong in one way only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emovec_sae.directions.direction_set import DirectionSet
from emovec_sae.errors import ConfigError
from emovec_sae.interventions.arms import Arm
from emovec_sae.interventions.comparison.names import TOPICS
from emovec_sae.interventions.edits import Shift
from emovec_sae.sites import Site
from emovec_sae.stats.permutation import permuted_labels

COVARIANCE = "random, covariance"
PERMUTED = "permuted labels"
OTHER = "other emotion"
FLIPPED = "sign flip"


def covariance_arms(site: Site, values: np.ndarray, *, draws: int, seed: int) -> list[Arm]:
    """Random directions with the covariance of the residual stream; each is compared with every emotion.

    Parameters
    ----------
    site
        Where.
    values
        Activations of the site, shape (rows, d_model); their own covariance is drawn from, whatever its rank.
    draws, seed
        How many, and the seed.

    Raises
    ------
    ConfigError
        If there are fewer than two rows.
    """
    if len(values) < 2:
        raise ConfigError(f"a covariance needs at least 2 activations, got {len(values)}")
    random = np.random.default_rng(seed)
    centred = np.asarray(values, np.float64) - np.mean(values, axis=0, dtype=np.float64)
    # mixing the centred rows at random has their covariance, and needs no matrix of d_model squared
    mixed = random.standard_normal((draws, len(centred))) @ centred
    return [
        Arm(COVARIANCE, None, Shift(vector.astype(np.float32), site=site, coefficient=1.0), draw)
        for draw, vector in enumerate(mixed)
    ]


def permuted_label_arms(
    directions: DirectionSet,
    emotions: list[str],
    *,
    values: np.ndarray,
    labels: Sequence[str],
    groups: Sequence[str],
    seed: int,
) -> list[Arm]:
    """The pipeline of the directions on labels that were permuted within groups: mean of a label less the grand mean.

    Parameters
    ----------
    directions
        The fitted directions, whose denoising is applied too.
    emotions
        Whose arms.
    values, labels, groups
        Pooled activations that the directions were fitted on, shape (texts, d_model), with emotion and group.
    seed
        Seed of the permutation.

    Raises
    ------
    ConfigError
        If an emotion has no text.
    """
    shuffled = next(permuted_labels(np.asarray(labels, dtype=object), blocks=groups, permutations=1, seed=seed))
    table = np.asarray(values, np.float64)
    names = sorted(set(labels))
    missing = [one for one in emotions if one not in names]
    if missing:
        raise ConfigError(f"no text is labelled {', '.join(missing)}; permuted labels need the texts of the directions")
    means = {name: table[shuffled == name].mean(axis=0) for name in names}
    grand = np.mean(list(means.values()), axis=0)
    found: list[Arm] = []
    for emotion in emotions:
        vector = means[emotion] - grand
        removed = directions.removed.astype(np.float64)
        vector = vector - (vector @ removed.T) @ removed
        site = directions[emotion].site
        found.append(Arm(PERMUTED, emotion, Shift(vector.astype(np.float32), site=site, coefficient=1.0)))
    return found


def other_emotion_arms(directions: DirectionSet, emotions: list[str], *, seed: int) -> list[Arm]:
    """For each emotion the vector of another one, every vector used once.

    Raises
    ------
    ConfigError
        If there is only one emotion.
    """
    if len(emotions) < 2:
        raise ConfigError("the control 'other emotion' needs at least 2 emotions")
    order = np.random.default_rng(seed).permutation(len(emotions))
    after = {emotions[one]: emotions[other] for one, other in zip(order, np.roll(order, 1), strict=True)}
    return [
        Arm(OTHER, emotion, Shift(directions[after[emotion]].vector, site=directions[emotion].site, coefficient=1.0))
        for emotion in emotions
    ]


def flipped_arms(directions: DirectionSet, emotions: list[str]) -> list[Arm]:
    """The vectors with their signs turned, which should lower what the vectors raise."""
    return [
        Arm(FLIPPED, emotion, Shift(-directions[emotion].vector, site=directions[emotion].site, coefficient=1.0))
        for emotion in emotions
    ]


def other_topics_arms(decomposed: DirectionSet, emotions: list[str]) -> list[Arm]:
    """The vectors of the topics that the latents come from: what latents can reach at best beside vectors of others.

    Parameters
    ----------
    decomposed
        The vectors that the latents of a fold decompose (`emovec_sae.interventions.rotation.Fold.decomposed`).
    emotions
        Whose arms.
    """
    return [
        Arm(TOPICS, emotion, Shift(decomposed[emotion].vector, site=decomposed[emotion].site, coefficient=1.0))
        for emotion in emotions
    ]
