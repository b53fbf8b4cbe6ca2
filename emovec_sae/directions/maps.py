"""Maps of directions in the plane, beside principal components."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.manifold import trustworthiness

from emovec_sae.errors import ConfigError, suggest

if TYPE_CHECKING:
    from emovec_sae.directions.geometry import Geometry

METHODS = ("pca", "umap")
"""Maps by name."""

NEIGHBOURS = 10
"""Neighbours that UMAP keeps together, and of which the trustworthiness is taken."""


def mapped(geometry: Geometry, method: str, *, seed: int = 0) -> pd.DataFrame:
    """The table of the vector map by a method.

    Parameters
    ----------
    geometry
        From `fit_geometry`.
    method
        ``pca``, or ``umap`` on the cosine distances.
    seed
        Of UMAP.

    Returns
    -------
    pandas.DataFrame
        Columns of `emovec_sae.charts.vector_map.COLUMNS`; for UMAP `method`, and NaN for the shares of variance.

    Raises
    ------
    ConfigError
        If there is no such method, or umap-learn is not installed.

    References
    ----------
    McInnes, Healy and Melville 2018, UMAP (arXiv 1802.03426).
    """
    if method not in METHODS:
        raise ConfigError(f"unknown map '{method}'{suggest(method, METHODS)}; there are {', '.join(METHODS)}")
    frame = geometry.frame()
    if method == "pca":
        return frame
    plane = _umap(_distances(geometry), seed)
    return frame.assign(pc1=plane[:, 0], pc2=plane[:, 1], explained1=np.nan, explained2=np.nan, method="UMAP")


def map_trust(geometry: Geometry, frame: pd.DataFrame) -> float:
    """How far neighbours on a map are neighbours among the vectors, from 0 to 1 (Venna and Kaski 2001)."""
    count = min(NEIGHBOURS, (len(frame) - 1) // 2)
    return float(
        trustworthiness(_distances(geometry), frame[["pc1", "pc2"]].to_numpy(), n_neighbors=count, metric="precomputed")
    )


def _distances(geometry: Geometry) -> np.ndarray:
    distances = np.clip(1 - (geometry.cosines + geometry.cosines.T) / 2, 0, None)
    np.fill_diagonal(distances, 0)
    return distances


def _umap(distances: np.ndarray, seed: int) -> np.ndarray:
    try:
        import umap
    except ImportError as error:
        raise ConfigError("UMAP is not installed; pip install 'emovec_sae[maps]'") from error
    count = min(NEIGHBOURS, len(distances) - 1)
    made: Any = umap.UMAP(n_neighbors=count, metric="precomputed", random_state=seed, init="random")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a seed means one thread, which is what is wanted
        plane = np.asarray(made.fit_transform(distances))
    return plane - plane.mean(axis=0)
