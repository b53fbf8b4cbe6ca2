"""What directions are fit on: pooled activations with an emotion and a group a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from emovec_sae.errors import ConfigError, MismatchError, StoreError, suggest
from emovec_sae.sites import Site, parse_sites


class PooledActivations(Protocol):
    """What this room needs of a store of activations; `emovec_sae.store.Activations` has it."""

    @property
    def frame(self) -> pd.DataFrame:
        """One row a text: at least id, text, emotion, group."""
        ...

    @property
    def sites(self) -> tuple[Site, ...]:
        """The recorded sites."""
        ...

    @property
    def pools(self) -> tuple[str, ...]:
        """The recorded pools."""
        ...

    @property
    def offset(self) -> int:
        """The token position from which texts were pooled."""
        ...

    @property
    def model(self) -> Mapping[str, Any]:
        """Name, fingerprint, dtype, d_model, n_layers of the model."""
        ...

    @property
    def residual_norm(self) -> Mapping[str, float]:
        """Mean L2 norm of the activations by site name."""
        ...

    @property
    def corpus_hash(self) -> str:
        """Hash of the texts."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of the store's content."""
        ...

    def pooled(self, site: Site, pool: str = "mean") -> np.ndarray:
        """Pooled activations of a site, shape (n_texts, d_model), in the row order of `frame`."""
        ...


@dataclass(frozen=True, eq=False)
class Labelled:
    """The rows of a store that carry an emotion, with emotions and groups as codes.

    Attributes
    ----------
    rows
        Row numbers in the store's frame, shape (n,).
    y
        Emotion codes into `emotions`, shape (n,).
    groups
        Group codes into `group_names`, shape (n,).
    emotions, group_names
        Names, sorted.
    frame
        The store's rows themselves, in the order of `rows`, with a fresh index.
    """

    rows: np.ndarray
    y: np.ndarray
    groups: np.ndarray
    emotions: tuple[str, ...]
    group_names: tuple[str, ...]
    frame: pd.DataFrame

    def __len__(self) -> int:
        return len(self.rows)


def labelled(acts: PooledActivations, *, labels: Mapping[str, str] | None = None, least: int = 1) -> Labelled:
    """Take the rows that carry an emotion; neutral texts (emotion None or NaN) are left out.

    Parameters
    ----------
    acts
        A store of activations.
    labels
        Renames labels of the corpus, ``{"joy": "happy"}``.
    least
        Fewest emotions that will do.

    Raises
    ------
    ConfigError
        If no row carries an emotion, there are too few emotions, or a row with an emotion has no group.
    """
    frame = acts.frame
    missing = [column for column in ("emotion", "group") if column not in frame.columns]
    if missing:
        raise ConfigError(f"these activations have no column '{missing[0]}': their corpus has no labels to fit on")
    rows = np.flatnonzero(frame["emotion"].notna().to_numpy())
    if len(rows) == 0:
        raise ConfigError(f"none of the {len(frame)} texts carries an emotion: there is nothing to fit or to score")
    part = frame.iloc[rows].reset_index(drop=True)
    if bool(part["group"].isna().any()):
        first = part.loc[part["group"].isna(), "id"].iloc[0]
        raise ConfigError(f"text '{first}' has an emotion but no group; groups keep train and test apart")
    names = part["emotion"].astype(str)
    if labels:
        unknown = sorted(set(labels) - set(names))
        if unknown:
            raise ConfigError(
                f"no text is labelled '{unknown[0]}'{suggest(unknown[0], set(names))}: it cannot be renamed"
            )
        names = names.replace(dict(labels))
        part = part.assign(emotion=names)
    y, emotions = pd.factorize(names, sort=True)
    if len(emotions) < least:
        raise ConfigError(f"all texts carry the emotion '{emotions[0]}': a direction needs others to differ from")
    groups, group_names = pd.factorize(part["group"].astype(str), sort=True)
    return Labelled(rows, y, groups, tuple(map(str, emotions)), tuple(map(str, group_names)), part)


def values_at(acts: PooledActivations, site: Site, pool: str, rows: np.ndarray) -> np.ndarray:
    """Pooled activations of chosen rows at a site, shape (len(rows), d_model).

    Raises
    ------
    StoreError
        If the site or the pool was not recorded, or a value is not finite.
    """
    if site not in acts.sites:
        known = [str(one) for one in acts.sites]
        raise StoreError(f"site '{site}' was not recorded{suggest(str(site), known)}; there are {', '.join(known)}")
    if pool not in acts.pools:
        raise StoreError(f"pool '{pool}' was not recorded; there are {', '.join(acts.pools)}")
    values = acts.pooled(site, pool)[rows]
    if not bool(np.isfinite(values).all()):
        raise StoreError(f"the {pool}-pooled activations of {site} hold values that are not finite")
    return values


def neutral_values(neutral: PooledActivations, site: Site, *, pool: str, model: Mapping[str, Any] | None) -> np.ndarray:
    """Pooled activations of neutral texts at a site, shape (n_texts, d_model).

    Raises
    ------
    MismatchError
        If they were recorded from another model than `model`.
    StoreError
        If the site or pool was not recorded.
    """
    theirs = neutral.model
    if model is not None and theirs.get("fingerprint") != model.get("fingerprint"):
        raise MismatchError(
            f"the neutral texts were recorded from {theirs.get('name')} ({theirs.get('fingerprint')}), the vectors "
            f"come from {model.get('name')} ({model.get('fingerprint')}); record the neutral texts with that model"
        )
    return values_at(neutral, site, pool, np.arange(len(neutral.frame)))


def sites_of(acts: PooledActivations, wanted: str | Site | Sequence[str | Site] | None) -> list[Site]:
    """The sites asked for, in forward order; None means every recorded site."""
    if wanted is None:
        return sorted(acts.sites)
    layers = int(acts.model["n_layers"]) if "n_layers" in acts.model else None
    return parse_sites(wanted, layers)
