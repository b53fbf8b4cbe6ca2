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

METHODS = ("pca", "umap", "pacmap")
"""Maps by name."""

NEIGHBOURS = 10
"""Neighbours that UMAP and PaCMAP keep together, and of which the trustworthiness is taken."""


def mapped(geometry: Geometry, method: str, *, seed: int = 0) -> pd.DataFrame:
    """The table of the vector map by a method.

    Parameters
    ----------
    geometry
        From `fit_geometry`.
    method
        ``pca``, ``umap`` on the cosine distances, or ``pacmap`` on the unit vectors, which keeps more of the whole.
    seed
        Of UMAP and PaCMAP.

    Returns
    -------
    pandas.DataFrame
        Columns of `emovec_sae.charts.vector_map.COLUMNS`; for the others `method`, and NaN for the shares of variance.

    Raises
    ------
    ConfigError
        If there is no such method, or its package is not installed.

    References
    ----------
    McInnes, Healy and Melville 2018, UMAP (arXiv 1802.03426); Wang, Huang, Rudin and Shaposhnik 2021, PaCMAP (JMLR 22).
    """
    if method not in METHODS:
        raise ConfigError(f"unknown map '{method}'{suggest(method, METHODS)}; there are {', '.join(METHODS)}")
    frame = geometry.frame()
    if method == "pca":
        return frame
    plane, name = (
        (_umap(_distances(geometry), seed), "UMAP") if method == "umap" else (_pacmap(geometry, seed), "PaCMAP")
    )
    return frame.assign(pc1=plane[:, 0], pc2=plane[:, 1], explained1=np.nan, explained2=np.nan, method=name)


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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it misses a network that is not used here
            import umap
    except ImportError as error:
        raise ConfigError("UMAP is not installed; pip install 'emovec_sae[maps]'") from error
    count = min(NEIGHBOURS, len(distances) - 1)
    made: Any = umap.UMAP(n_neighbors=count, metric="precomputed", random_state=seed, init="random")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a seed means one thread, which is what is wanted
        plane = np.asarray(made.fit_transform(distances))
    return plane - plane.mean(axis=0)


def _pacmap(geometry: Geometry, seed: int) -> np.ndarray:
    try:
        import pacmap
    except ImportError as error:
        raise ConfigError("PaCMAP is not installed; pip install 'emovec_sae[maps]'") from error
    values, axes = np.linalg.eigh((geometry.cosines + geometry.cosines.T) / 2)
    points = (axes * np.sqrt(np.clip(values, 0, None))).astype(np.float32)  # the unit vectors, turned
    made: Any = pacmap.PaCMAP(n_components=2, n_neighbors=min(NEIGHBOURS, len(points) - 1), random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that a seed makes it slower
        plane = np.asarray(made.fit_transform(points, init="pca"))
    return plane - plane.mean(axis=0)
