"""DirectionSet: fitted emotion directions with all that is needed to use them rightly."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.directions.baseline import WordCentroids
from emovec_sae.directions.direction import Direction
from emovec_sae.directions.readouts import ReadoutStats, read, unit_rows
from emovec_sae.errors import ConfigError, MismatchError, suggest
from emovec_sae.provenance import digest
from emovec_sae.sites import Site

if TYPE_CHECKING:
    import altair as alt

    from emovec_sae.directions.evaluation import Evaluation
    from emovec_sae.directions.geometry import Geometry
    from emovec_sae.directions.source import PooledActivations


@dataclass(frozen=True, eq=False, repr=False)
class DirectionSet:
    """Emotion directions of one site of one model; arrays are read-only.

    Attributes
    ----------
    emotions
        Names, n of them, in the order of the rows.
    vectors
        Denoised vectors with their own norms, shape (n, d), float32.
    removed
        Orthonormal rows that were projected out of the vectors, shape (m, d), float32; m may be 0.
    site
        Where the vectors live.
    model
        Name, fingerprint, dtype, d_model, n_layers of the model.
    corpus_hash, activations
        Hash of the corpus, and fingerprint of the store, that the vectors were fitted on.
    pool, offset
        How texts were pooled, and from which token on.
    residual_norm, residual_norm_of
        Mean L2 norm of the site's activations (a strength of 1 is this long), and the hash of the corpus over which
        it was taken: the neutral texts where the vectors were denoised with a store of them.
    n_texts
        Texts of each emotion, shape (n,).
    groups
        Groups of the texts that the vectors were fitted on.
    stats
        Training statistics of the readouts.
    readout
        The readout that the set recommends.
    estimator
        Name and parameters of the estimator.
    provenance
        Who made it, from what; under `texts` the hashes of the texts that it saw.
    words
        The TF-IDF reader of the same texts, a baseline for later evaluations, or None.
    """

    emotions: tuple[str, ...]
    vectors: np.ndarray
    removed: np.ndarray
    site: Site
    model: Mapping[str, Any]
    corpus_hash: str
    activations: str
    pool: str
    offset: int
    residual_norm: float
    residual_norm_of: str
    n_texts: np.ndarray
    groups: tuple[str, ...]
    stats: ReadoutStats
    readout: str
    estimator: Mapping[str, Any]
    provenance: Mapping[str, Any]
    words: WordCentroids | None = None

    def __post_init__(self) -> None:
        n, d = len(self.emotions), self.vectors.shape[-1]
        shapes = {
            "vectors": (self.vectors, (n, d)),
            "removed": (self.removed, (len(self.removed), d)),
            "stats.mean": (self.stats.mean, (d,)),
            "stats.proj_mean": (self.stats.proj_mean, (n,)),
            "stats.proj_std": (self.stats.proj_std, (n,)),
            "n_texts": (self.n_texts, (n,)),
        }
        for name, (array, shape) in shapes.items():
            if array.shape != shape:
                raise ConfigError(f"{name} of {n} directions has shape {array.shape}, {shape} is wanted")
        if len(set(self.emotions)) != n or n == 0:
            raise ConfigError("a direction set needs at least one emotion, and each only once")
        norms = np.linalg.norm(self.vectors, axis=1)
        bad = ~(np.isfinite(norms) & (norms > 0))
        if bool(bad.any()):
            name = self.emotions[int(np.argmax(bad))]
            raise ConfigError(f"the vector of '{name}' has no length or is not finite: it is no direction")
        for name in ("vectors", "removed", "n_texts"):
            object.__setattr__(self, name, _frozen(getattr(self, name)))

    def __repr__(self) -> str:
        made = f"{self.estimator.get('name')}, {len(self.removed)} neutral components removed"
        return (
            f"DirectionSet({len(self)} emotions at {self.site} of {self.model.get('name')}, {made}, "
            f"{int(self.n_texts.sum())} texts, read by {self.readout})"
        )

    def __len__(self) -> int:
        return len(self.emotions)

    def __iter__(self) -> Iterator[Direction]:
        return (self[name] for name in self.emotions)

    def __contains__(self, emotion: object) -> bool:
        return emotion in self.emotions

    def __getitem__(self, emotion: str) -> Direction:
        return Direction(self, self.index(emotion))

    def index(self, emotion: str) -> int:
        """Row of an emotion.

        Raises
        ------
        ConfigError
            If the set has no such emotion; the message names the nearest.
        """
        if emotion not in self.emotions:
            few = ", ".join(self.emotions[:8]) + (", ..." if len(self) > 8 else "")
            raise ConfigError(f"no direction for '{emotion}'{suggest(str(emotion), self.emotions)}; there are {few}")
        return self.emotions.index(emotion)

    @cached_property
    def norms(self) -> np.ndarray:
        """L2 norms of the vectors, shape (n,), float32."""
        return _frozen(np.linalg.norm(self.vectors, axis=1))

    @cached_property
    def units(self) -> np.ndarray:
        """Unit vectors, shape (n, d), float32."""
        return _frozen(unit_rows(self.vectors))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of what the set says: names, numbers, site, model, texts; not of when and by whom."""
        told = hashlib.sha256(digest(self.facts()).encode())
        for name, array in sorted(self.arrays().items()):
            told.update(f"{name}{array.dtype}{array.shape}".encode())
            told.update(np.ascontiguousarray(array).tobytes())
        return told.hexdigest()

    def facts(self) -> dict[str, Any]:
        """What is no array, JSON-serialisable; provenance apart."""
        return {
            "emotions": list(self.emotions),
            "site": str(self.site),
            "model": dict(self.model),
            "corpus_hash": self.corpus_hash,
            "activations": self.activations,
            "pool": self.pool,
            "offset": int(self.offset),
            "residual_norm": float(self.residual_norm),
            "residual_norm_of": self.residual_norm_of,
            "groups": list(self.groups),
            "readout": self.readout,
            "estimator": dict(self.estimator),
            "vocabulary": None if self.words is None else list(self.words.vocabulary),
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays by name, as a file holds them."""
        return {
            "vectors": self.vectors,
            "removed": self.removed,
            "n_texts": self.n_texts.astype(np.int64),
            "stats.mean": self.stats.mean.astype(np.float64),
            "stats.proj_mean": self.stats.proj_mean.astype(np.float64),
            "stats.proj_std": self.stats.proj_std.astype(np.float64),
            **({} if self.words is None else self.words.arrays()),
        }

    def read(self, values: np.ndarray, *, readout: str | None = None) -> np.ndarray:
        """Score activations, shape (m, d), by a readout (None: the set's own); scores, shape (m, n)."""
        return read(values, self.vectors, self.stats, readout=self.readout if readout is None else readout)

    def check_model(self, model: Mapping[str, Any]) -> None:
        """Refuse another model than the one that the vectors come from.

        Parameters
        ----------
        model
            A model record with at least a fingerprint.

        Raises
        ------
        MismatchError
            If the fingerprints differ.
        """
        if model.get("fingerprint") != self.model.get("fingerprint"):
            raise MismatchError(
                f"these directions come from {_named(self.model)}, not from {_named(model)}; fit directions on "
                "activations of that model"
            )

    def frame(self) -> pd.DataFrame:
        """One row an emotion: emotion, norm, nearest (emotion), cosine (with it), site, n_texts."""
        cosines = self.units @ self.units.T
        np.fill_diagonal(cosines, -np.inf)
        near = cosines.argmax(axis=1)
        alone = len(self) == 1
        return pd.DataFrame(
            {
                "emotion": self.emotions,
                "norm": self.norms,
                "nearest": [None] if alone else [self.emotions[row] for row in near],
                "cosine": [np.nan] if alone else cosines.max(axis=1),
                "site": str(self.site),
                "n_texts": self.n_texts,
            }
        )

    def evaluate(self, held_out: PooledActivations, **options: Any) -> Evaluation:
        """Read held-out texts; see `emovec_sae.directions.evaluate.evaluate_directions`."""
        from emovec_sae.directions.evaluate import evaluate_directions

        return evaluate_directions(self, held_out, **options)

    def geometry(self, norms: pd.DataFrame | None = None, *, seed: int = 0) -> Geometry:
        """How the directions lie to each other and to valence and arousal; see `emovec_sae.directions.geometry`."""
        from emovec_sae.directions.geometry import fit_geometry

        return fit_geometry(self, norms, seed=seed)

    def plot(self) -> alt.LayerChart:
        """Draw the vector map of these directions."""
        return self.geometry().plot()

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write a ``.safetensors`` file and a JSON sidecar; see `emovec_sae.directions.files`."""
        from emovec_sae.directions.files import save_directions

        return save_directions(self, path, overwrite=overwrite)


def _frozen(array: np.ndarray) -> np.ndarray:
    """A read-only copy, so that nobody's later change reaches a set."""
    copy = np.array(array)
    copy.setflags(write=False)
    return copy


def _named(model: Mapping[str, Any]) -> str:
    return f"'{model.get('name')}' (fingerprint {str(model.get('fingerprint'))[:12]})"
