"""Readouts: how strongly each of n directions is present in an activation.

All take activations H, shape (m, d), and directions V, shape (n, d), and give scores, shape (m, n). Directions are
brought to unit length first, always: otherwise a long vector wins whatever the text (science.md, pitfall 3). With u
a unit direction:

========================  =====================================================================================
``dot``                   h . u
``cosine``                h . u / |h|; ranks the directions of one text as ``dot`` does
``centred_cosine``        (h - mu) . u / |h - mu|, mu the training mean
``zscore``                (h . u - m_u) / s_u, m_u and s_u mean and deviation of h . u over the training texts
``batch_centred``         (h - mean of the batch H) . u; transductive: a text's score depends on its company
========================  =====================================================================================

The training mean and deviation give every emotion the same weight, as the grand mean of `DiffMean` does, so that
emotions with many texts do not move them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from emovec_sae.errors import ConfigError, suggest

TRANSDUCTIVE = ("batch_centred",)
"""Readouts whose score of a text depends on the other texts of its batch."""


AUTO = "auto"
"""In place of a site or a readout: choose it by held-out groups."""


@dataclass(frozen=True, eq=False)
class ReadoutStats:
    """What the readouts keep of the training texts.

    Attributes
    ----------
    mean
        Training mean mu, shape (d,).
    proj_mean, proj_std
        Mean and deviation of h . u over the training texts, shape (n,); a deviation of 0 is kept as it is.
    """

    mean: np.ndarray
    proj_mean: np.ndarray
    proj_std: np.ndarray

    @classmethod
    def fit(cls, values: np.ndarray, vectors: np.ndarray, weights: np.ndarray | None = None) -> ReadoutStats:
        """Take the statistics of training activations.

        Parameters
        ----------
        values
            Training activations, shape (m, d).
        vectors
            Directions of any length, shape (n, d).
        weights
            Non-negative weight of each text, shape (m,); None weighs all the same. `balanced_weights` gives every
            emotion the same weight.
        """
        return cls.of_projections(values, values @ unit_rows(vectors).T, weights)

    @classmethod
    def of_projections(
        cls, values: np.ndarray, projections: np.ndarray, weights: np.ndarray | None = None
    ) -> ReadoutStats:
        """As `fit`, from projections h . u that are already there, shape (m, n)."""
        share = np.full(len(values), 1 / len(values)) if weights is None else weights / weights.sum()
        # Deviations are taken from the mean, in two passes: projections of 1e4 with deviations of 1 keep their digits.
        proj_mean = share @ projections.astype(np.float64, copy=False)
        squares = np.square(projections - proj_mean.astype(projections.dtype))
        return cls(share @ values, proj_mean, np.sqrt(share @ squares))


def balanced_weights(y: np.ndarray) -> np.ndarray:
    """Weights that sum to 1 and give every label the same total, shape (m,)."""
    _, inverse, counts = np.unique(y, return_inverse=True, return_counts=True)
    return 1.0 / (len(counts) * counts[inverse])


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Rows at unit length, shape (n, d); a row of zeros stays a row of zeros."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(norms > 0, norms, 1)


def dot(values: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Plain projection h . u, shape (m, n)."""
    return values @ unit_rows(vectors).T


def cosine(values: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Cosine h . u / |h|, shape (m, n)."""
    return unit_rows(values) @ unit_rows(vectors).T


def centred_cosine(values: np.ndarray, vectors: np.ndarray, stats: ReadoutStats) -> np.ndarray:
    """Cosine (h - mu) . u / |h - mu| with mu the training mean, shape (m, n)."""
    return unit_rows(values - stats.mean.astype(values.dtype)) @ unit_rows(vectors).T


def zscore(values: np.ndarray, vectors: np.ndarray, stats: ReadoutStats) -> np.ndarray:
    """Standardised (h . u - m_u) / s_u with the training texts' mean and deviation, shape (m, n).

    A direction on which the training texts do not differ (s_u = 0) is only centred.
    """
    return _standardise(values @ unit_rows(vectors).T, stats)


def batch_centred(values: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Projection (h - mean of these very values) . u, shape (m, n): transductive, no held-out number."""
    return (values - values.mean(axis=0)) @ unit_rows(vectors).T


def _standardise(projections: np.ndarray, stats: ReadoutStats) -> np.ndarray:
    return (projections - stats.proj_mean) / np.where(stats.proj_std > 0, stats.proj_std, 1)


_READOUTS: dict[str, Callable[[np.ndarray, np.ndarray, ReadoutStats], np.ndarray]] = {
    "dot": lambda values, vectors, stats: dot(values, vectors),
    "cosine": lambda values, vectors, stats: cosine(values, vectors),
    "centred_cosine": centred_cosine,
    "zscore": zscore,
    "batch_centred": lambda values, vectors, stats: batch_centred(values, vectors),
}

READOUTS = tuple(_READOUTS)
"""Names of the readouts."""


def check_readout(name: str) -> str:
    """Return the name of a readout, or raise `ConfigError` with the nearest known one."""
    if name not in _READOUTS:
        raise ConfigError(f"unknown readout '{name}'{suggest(name, READOUTS)}; there are {', '.join(READOUTS)}")
    return name


def read(values: np.ndarray, vectors: np.ndarray, stats: ReadoutStats, *, readout: str) -> np.ndarray:
    """Score activations by a readout given by name.

    Parameters
    ----------
    values
        Activations, shape (m, d).
    vectors
        Directions of any length, shape (n, d).
    stats
        The training texts' statistics (for these very directions).
    readout
        One of `READOUTS`.

    Returns
    -------
    np.ndarray
        Scores, shape (m, n).

    Raises
    ------
    ConfigError
        If there is no such readout.
    """
    return _READOUTS[check_readout(readout)](values, vectors, stats)


def read_projections(
    values: np.ndarray, projections: np.ndarray, units: np.ndarray, stats: ReadoutStats, *, readout: str
) -> np.ndarray:
    """As `read`, from projections h . u that are already there: a sweep shares one product among its readouts.

    Parameters
    ----------
    values, projections
        Activations, shape (m, d), and their projections on `units`, shape (m, n).
    units
        Unit directions, shape (n, d).
    stats
        The training texts' statistics.
    readout
        One of `READOUTS`.
    """
    name = check_readout(readout)
    if name == "dot":
        return projections
    if name == "zscore":
        return _standardise(projections, stats)
    if name == "cosine":
        lengths = np.linalg.norm(values, axis=1)
        return projections / np.where(lengths > 0, lengths, 1)[:, None]
    if name == "centred_cosine":
        mean = stats.mean.astype(values.dtype)
        lengths = np.linalg.norm(values - mean, axis=1)
        return (projections - units @ mean) / np.where(lengths > 0, lengths, 1)[:, None]
    return projections - projections.mean(axis=0)
