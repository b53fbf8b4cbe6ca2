"""Rotation over topics: a raw vector and the latents set beside it come from texts that share no topic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from emovec_sae.decomposition.api import decompose
from emovec_sae.directions.fit import fit_directions
from emovec_sae.directions.source import labelled
from emovec_sae.errors import ConfigError

if TYPE_CHECKING:
    from emovec_sae.decomposition.result import Decomposition
    from emovec_sae.directions.denoise import NeutralComponents
    from emovec_sae.directions.direction_set import DirectionSet
    from emovec_sae.interventions.arms import Arm
    from emovec_sae.saes.coder import SparseCoder
    from emovec_sae.saes.passport import Passport
    from emovec_sae.store.reader import Activations


@dataclass(frozen=True, eq=False, repr=False)
class Fold:
    """One turn of a rotation.

    Attributes
    ----------
    number
        From 0.
    directions
        The raw vectors, fitted on the topics outside the fold.
    decomposed
        Vectors fitted on the fold's own topics; `contrast` writes these as latents.
    contrast
        Their decomposition: what selectors choose among, with the amounts.
    acts
        Activations of the fold's own topics, for whatever else selects.
    """

    number: int
    directions: DirectionSet
    decomposed: DirectionSet
    contrast: Decomposition
    acts: Activations

    def __repr__(self) -> str:
        raw, own = (", ".join(one.groups) for one in (self.directions, self.decomposed))
        return f"Fold({self.number}: raw vectors of {raw}; latents of {own})"

    def mark(self, arms: Sequence[Arm]) -> list[Arm]:
        """The same arms, counted as this fold's."""
        return [replace(arm, fold=self.number) for arm in arms]


@dataclass(frozen=True, eq=False, repr=False)
class Rotation:
    """Folds of topics, each with raw vectors of the topics outside it and latents of its own.

    Attributes
    ----------
    folds
        Two or more.
    """

    folds: tuple[Fold, ...]

    def __repr__(self) -> str:
        return f"Rotation({'; '.join(map(repr, self.folds))})"

    def __len__(self) -> int:
        return len(self.folds)

    def __iter__(self) -> Iterator[Fold]:
        return iter(self.folds)

    def __getitem__(self, number: int) -> Fold:
        return self.folds[number]


def deal_topics(topics: Sequence[str], folds: int, *, seed: int) -> tuple[tuple[str, ...], ...]:
    """Topics dealt at random into folds whose sizes differ by one at most, each fold sorted.

    Raises
    ------
    ConfigError
        If there are fewer than two folds, or less than two topics a fold.
    """
    names = sorted(set(topics))
    if folds < 2:
        raise ConfigError(f"a rotation needs at least 2 folds, got {folds}")
    if len(names) < 2 * folds:
        raise ConfigError(
            f"{folds} folds need at least {2 * folds} groups, so that each has two of them; these texts have "
            f"{len(names)} ({', '.join(names)}); rotate over fewer folds, or record more groups"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    return tuple(tuple(sorted(names[row] for row in order[fold::folds])) for fold in range(folds))


def rotate(
    acts: Activations,
    coder: SparseCoder,
    *,
    folds: int = 2,
    emotions: Sequence[str] | None = None,
    k: int = 64,
    remove: NeutralComponents | None = None,
    passport: Passport | None = None,
    override: bool = False,
    seed: int = 0,
) -> Rotation:
    """Fit raw vectors and latents on topics that do not meet, each fold in its turn.

    The topics (groups) are dealt into folds at random. In the turn of a fold the raw vectors are fitted on the topics
    outside it, and the latents are selected and weighted on the topics in it. So no sampling noise of the stories is
    shared by a raw vector and the latents that it is compared with: latents that fitted the noise of their topics
    gain nothing by it. With two folds both come from halves, and the roles swap. With F > 2 the raw vectors come from
    F - 1 parts of F, and the latents from one, so that these are noisier than the vectors; and the raw vectors of two
    folds share topics, which within a fold nothing does.

    Parameters
    ----------
    acts
        Activations with tokens at the SAE's site, of stories with emotions and groups. Leave out (``acts.select``)
        whatever the SAE was trained on.
    coder
        The SAE.
    folds
        How many.
    emotions
        Those whose vectors are decomposed; None means all. Directions are fitted on all emotions of `acts`.
    k
        Latents an emotion that the contrast ranks, among which selectors choose.
    remove
        Neutral components to project out of every vector.
    passport, override
        As in `decompose`.
    seed
        Of the deal.

    Raises
    ------
    ConfigError
        If there are too few topics, or an emotion has no text in some fold or outside it.
    UnfitError, MismatchError, StoreError
        As `decompose`.
    """
    part = labelled(acts, least=2)
    dealt = deal_topics(part.group_names, folds, seed=seed)
    _check(part.frame["group"].astype(str).to_numpy(), part.frame["emotion"].astype(str).to_numpy(), dealt)
    topic = acts.frame["group"].astype(str).to_numpy()
    made: list[Fold] = []
    for number, topics in enumerate(dealt):
        inside = np.isin(topic, topics)
        own, rest = acts.where(inside), acts.where(~inside)
        directions, decomposed = (
            fit_directions(some, site=coder.site, remove=remove, seed=seed) for some in (rest, own)
        )
        contrast = decompose(
            decomposed, coder, own, emotions=emotions, k=k, nulls=0, seed=seed, passport=passport, override=override,
            contrast={"permutations": 0},
        )  # fmt: skip
        made.append(Fold(number, directions, decomposed, contrast, own))
    return Rotation(tuple(made))


def _check(groups: np.ndarray, emotions: np.ndarray, dealt: Sequence[Sequence[str]]) -> None:
    """Refuse folds in which, or without which, an emotion has no text."""
    for topics in dealt:
        inside = np.isin(groups, topics)
        for where, some in (("in", emotions[inside]), ("outside", emotions[~inside])):
            lacking = sorted(set(emotions) - set(some))
            if lacking:
                raise ConfigError(
                    f"'{lacking[0]}' has no text {where} the fold of topics {', '.join(topics)}; a rotation needs "
                    "every emotion on both sides: leave it out, or rotate over fewer folds"
                )
