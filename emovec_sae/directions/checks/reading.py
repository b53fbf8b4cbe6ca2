"""Reading texts of another kind than the directions were fitted on: whose mean and deviation are the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from emovec_sae.directions.direction_set import DirectionSet
from emovec_sae.directions.readouts import ReadoutStats, read
from emovec_sae.directions.source import PooledActivations, values_at
from emovec_sae.errors import ConfigError, suggest

REFERENCES = ("training", "other")
"""Whose mean and deviation a readout uses: the texts that the directions were fitted on, or, labels unseen, those of
the same kind that are not being read (the other battery, the other topics)."""


OF_VECTORS = {"readout": "unit vectors", "position": "no text is read"}
"""What a check of the vectors themselves says where others name readout and reading position."""


def values_of(directions: DirectionSet, acts: PooledActivations, pool: str) -> np.ndarray:
    """Pooled activations of all texts at the directions' site, in float64, shape (n_texts, d); of the same model.

    Raises
    ------
    MismatchError, StoreError
        If the texts come from another model, or the site or pool was not recorded.
    """
    directions.check_model(acts.model)
    rows = np.arange(len(acts.frame))
    return values_at(acts, directions.site, pool, rows).astype(np.float64)


def rows_of(directions: DirectionSet, emotions: Sequence[str]) -> np.ndarray:
    """Rows of the set for emotions, shape (n,); `ConfigError` for one that it lacks."""
    return np.array([directions.index(name) for name in emotions])


def own_stats(directions: DirectionSet, rows: np.ndarray) -> ReadoutStats:
    """The statistics that the set carries, for some of its rows."""
    stats = directions.stats
    return ReadoutStats(stats.mean, stats.proj_mean[rows], stats.proj_std[rows])


def read_apart(
    values: np.ndarray, directions: DirectionSet, rows: np.ndarray, parts: np.ndarray, *, readout: str, reference: str
) -> np.ndarray:
    """Scores of texts that come in parts, each read with a reference that does not hold it.

    Parameters
    ----------
    values
        Activations, shape (m, d).
    directions, rows
        The set, and which of its directions are read.
    parts
        Part of each text, shape (m,); with the reference ``other`` there must be two or more.
    readout, reference
        One of `READOUTS` and of `REFERENCES`.

    Returns
    -------
    np.ndarray
        Shape (m, len(rows)).
    """
    if reference not in REFERENCES:
        raise ConfigError(f"unknown reference '{reference}'{suggest(reference, REFERENCES)}; there are training, other")
    vectors = directions.vectors[rows].astype(np.float64)
    if reference == "training":
        return read(values, vectors, own_stats(directions, rows), readout=readout)
    names = np.unique(parts)
    if len(names) < 2:
        raise ConfigError("the reference 'other' needs texts in two parts at least; use 'training'")
    scores = np.empty((len(values), len(rows)))
    for name in names:
        mine = parts == name
        scores[mine] = read(values[mine], vectors, ReadoutStats.fit(values[~mine], vectors), readout=readout)
    return scores


def told(directions: DirectionSet, **more: Any) -> dict[str, Any]:
    """What every check says of its directions and its reading."""
    return {
        "model": directions.model.get("name"),
        "site": str(directions.site),
        "estimator": directions.estimator.get("name"),
        "estimator_params": dict(directions.estimator.get("params", {})),
        "fitted_on": {
            "pool": directions.pool,
            "offset": int(directions.offset),
            "texts": int(directions.n_texts.sum()),
        },
        **more,
    }
