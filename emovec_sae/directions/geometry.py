"""How emotion directions lie to each other, and whether valence and arousal can be read from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from emovec_sae.corpora import load_emotions, load_norms
from emovec_sae.directions.evaluation import records
from emovec_sae.directions.threads import one_thread
from emovec_sae.errors import ConfigError, suggest
from emovec_sae.provenance import collect, write_json
from emovec_sae.sites import Site
from emovec_sae.stats import correlation

if TYPE_CHECKING:
    import altair as alt

    from emovec_sae.directions.direction_set import DirectionSet

RATINGS = ("valence", "arousal")
"""What emotions are rated on, from 1 to 9."""

COMPONENTS = 5
"""Principal components that are looked at: instruction tuning can demote valence below the first."""

ALPHAS = np.logspace(0, 5, 11)
"""Penalties among which the ridge chooses, on standardised coordinates."""

LEAST_RATED = 10
"""Rated emotions below which nothing is correlated."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """The lie of n emotion directions.

    Attributes
    ----------
    emotions
        Names, n of them.
    site
        Where the directions live.
    cosines
        Cosines between the directions, shape (n, n).
    order
        Rows in clustered order (average linkage of 1 - cosine, leaves ordered), shape (n,).
    coordinates
        The unit vectors on their principal components, shape (n, k), k at most 5. Signs are arbitrary in PCA: each
        component is turned so that the stronger of its correlations with valence and arousal is positive.
    explained
        Share of the variance of each component, shape (k,).
    correlations
        One row a (component, rating): component ("PC1", ...), rating, r, low, high, p (permutation, uncorrected),
        n (rated emotions), method.
    ridge
        One row a rating, read from unit vectors that the ridge did not see: rating, r, low, high, p, n,
        folds, method. Without rows below 10 rated emotions.
    about
        One row an emotion: emotion, valence, arousal, family, core, n_texts; NaN where an emotion is not rated.
    provenance
        Who made it, from what.
    """

    emotions: tuple[str, ...]
    site: Site
    cosines: np.ndarray
    order: np.ndarray
    coordinates: np.ndarray
    explained: np.ndarray
    correlations: pd.DataFrame
    ridge: pd.DataFrame
    about: pd.DataFrame
    provenance: Mapping[str, Any]

    def frame(self) -> pd.DataFrame:
        """The vector map, what `plot` draws: see `vector_map_frame`."""
        return self.vector_map_frame()

    def plot(self, *, method: str | Sequence[str] = "pca", seed: int = 0) -> alt.LayerChart:
        """Draw the vector map: ``pca``, ``umap`` or ``pacmap`` (extra ``maps``); several stand side by side."""
        from emovec_sae.charts import draw
        from emovec_sae.directions.maps import mapped

        names = [method] if isinstance(method, str) else list(method)
        return draw("vector_map", pd.concat([mapped(self, name, seed=seed) for name in names], ignore_index=True))

    def plot_similarity(self, *, emotions: Sequence[str] | None = None) -> alt.Chart:
        """Draw the heat map of cosines from `similarity_frame`."""
        from emovec_sae.charts import draw

        return draw("similarity", self.similarity_frame(emotions=emotions))

    def vector_map_frame(self) -> pd.DataFrame:
        """One row an emotion: emotion, pc1, pc2, ratings, family, core, explained1, explained2, site, n_texts."""
        about = self.about
        return pd.DataFrame(
            {
                "emotion": about["emotion"],
                "pc1": self.coordinates[:, 0],
                "pc2": self.coordinates[:, 1],
                "valence": about["valence"],
                "arousal": about["arousal"],
                "family": about["family"],
                "core": about["core"],
                "explained1": float(self.explained[0]),
                "explained2": float(self.explained[1]),
                "site": str(self.site),
                "n_texts": about["n_texts"],
            }
        )

    def similarity_frame(self, *, emotions: Sequence[str] | None = None) -> pd.DataFrame:
        """One row an ordered pair: emotion_a, emotion_b, cosine, order_a, order_b (positions in clustered order).

        Parameters
        ----------
        emotions
            Emotions to keep, which are then clustered among themselves; None keeps all.

        Raises
        ------
        ConfigError
            If an emotion is not there, or fewer than two are asked for.
        """
        rows, order = np.arange(len(self.emotions)), self.order
        if emotions is not None:
            rows = np.array([self._row(name) for name in dict.fromkeys(emotions)])
            if len(rows) < 2:
                raise ConfigError("a table of similarities needs at least two emotions")
            order = clustered_order(self.cosines[np.ix_(rows, rows)])
        n = len(rows)
        place = np.empty(n, dtype=np.int64)
        place[order] = np.arange(n)
        names = np.array(self.emotions, dtype=object)[rows]
        first, second = np.repeat(np.arange(n), n), np.tile(np.arange(n), n)
        return pd.DataFrame(
            {
                "emotion_a": names[first],
                "emotion_b": names[second],
                "cosine": self.cosines[np.ix_(rows, rows)].ravel(),
                "order_a": place[first],
                "order_b": place[second],
            }
        )

    def _row(self, emotion: str) -> int:
        if emotion not in self.emotions:
            raise ConfigError(f"no direction for '{emotion}'{suggest(emotion, self.emotions)}")
        return self.emotions.index(emotion)

    def save(self, path: str | Path) -> Path:
        """Write the map and the correlations as one JSON file, atomically."""
        tables = {"map": self.frame(), "correlations": self.correlations, "ridge": self.ridge}
        rows = {name: records(table) for name, table in tables.items()}
        return write_json(path, {"site": str(self.site), **rows, "provenance": dict(self.provenance)})


def fit_geometry(
    directions: DirectionSet,
    norms: pd.DataFrame | None = None,
    *,
    folds: int = 20,
    resamples: int = 2000,
    seed: int = 0,
) -> Geometry:
    """Look at how directions lie to each other and to ratings.

    Parameters
    ----------
    directions
        The directions, of which the unit vectors are looked at.
    norms
        Ratings: emotion, valence, arousal (1 to 9); None means the packaged ones.
    folds
        Folds of emotions of the ridge reading.
    resamples, seed
        Of the intervals (over emotions) and of the ridge's folds.

    Raises
    ------
    ConfigError
        If `norms` lacks a column, or there are fewer than three directions.
    """
    if len(directions) < 3:
        raise ConfigError(f"{len(directions)} directions have no geometry; at least three are needed")
    about = _about(directions, load_norms() if norms is None else norms)
    units = directions.units.astype(np.float64)
    cosines = np.clip(units @ units.T, -1, 1)
    found = PCA(min(COMPONENTS, len(directions) - 1, units.shape[1]), svd_solver="full").fit(units)
    coordinates = found.transform(units)
    table = _correlate(coordinates, about, resamples=resamples, seed=seed)
    for column in range(coordinates.shape[1]):
        mine = table["component"] == f"PC{column + 1}"
        if _strongest(table.loc[mine, "r"]) < 0:
            coordinates[:, column] *= -1
            table.loc[mine, ["r", "low", "high"]] = -table.loc[mine, ["r", "high", "low"]].to_numpy()
    return Geometry(
        emotions=directions.emotions,
        site=directions.site,
        cosines=cosines,
        order=clustered_order(cosines),
        coordinates=coordinates,
        explained=found.explained_variance_ratio_,
        correlations=table,
        ridge=_read_ratings(units, about, folds=folds, resamples=resamples, seed=seed),
        about=about,
        provenance=collect(directions=directions.fingerprint, seed=seed),
    )


def _about(directions: DirectionSet, norms: pd.DataFrame) -> pd.DataFrame:
    missing = [name for name in ("emotion", *RATINGS) if name not in norms.columns]
    if missing:
        raise ConfigError(f"the ratings lack the column '{missing[0]}'; wanted are emotion, {', '.join(RATINGS)}")
    doubled = norms["emotion"][norms["emotion"].duplicated()]
    if len(doubled):
        raise ConfigError(f"the ratings name '{doubled.iloc[0]}' more than once")
    about = pd.DataFrame({"emotion": directions.emotions, "n_texts": directions.n_texts})
    about = about.merge(norms[["emotion", *RATINGS]], on="emotion", how="left")
    about = about.merge(load_emotions().frame(), on="emotion", how="left")
    return about.assign(family=about["family"].fillna("other"), core=about["core"].eq(other=True))


def clustered_order(cosines: np.ndarray) -> np.ndarray:
    """Rows of a matrix of cosines, shape (n, n), in the order of their clusters, shape (n,).

    Average linkage of 1 - cosine; the leaves are ordered so that neighbours are as alike as can be.
    """
    distance = 1 - (cosines + cosines.T) / 2
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(np.clip(distance, 0, None), checks=False), method="average", optimal_ordering=True)
    return leaves_list(tree)


def _rated(about: pd.DataFrame, rating: str) -> np.ndarray:
    return np.flatnonzero(about[rating].notna().to_numpy())


def _correlate(coordinates: np.ndarray, about: pd.DataFrame, *, resamples: int, seed: int) -> pd.DataFrame:
    rows = []
    for column in range(coordinates.shape[1]):
        for rating in RATINGS:
            rated = _rated(about, rating)
            values = about[rating].to_numpy(dtype=float)[rated]
            found = _r(coordinates[rated, column], values, resamples=resamples, seed=seed)
            rows.append({"component": f"PC{column + 1}", "rating": rating, **found})
    return pd.DataFrame(rows, columns=["component", "rating", "r", "low", "high", "p", "n", "method"])


def _strongest(values: pd.Series) -> float:
    known = values.dropna()
    return float(known.iloc[int(known.abs().argmax())]) if len(known) else 0.0


def _read_ratings(units: np.ndarray, about: pd.DataFrame, *, folds: int, resamples: int, seed: int) -> pd.DataFrame:
    """Ratings read by ridge from the unit vectors of emotions that it was not fitted on.

    The penalty is chosen inside each training fold; coordinates are standardised there, because a few residual
    dimensions are many times larger than the rest and would take the penalty for themselves.
    """
    rows = []
    for rating in RATINGS:
        rated = _rated(about, rating)
        if len(rated) < LEAST_RATED:
            continue
        truth = about[rating].to_numpy(dtype=float)[rated]
        count = min(folds, len(rated))
        guess = np.zeros(len(rated))
        with one_thread():
            for train, test in KFold(count, shuffle=True, random_state=seed).split(rated):
                ridge = make_pipeline(StandardScaler(), RidgeCV(ALPHAS)).fit(units[rated[train]], truth[train])
                guess[test] = ridge.predict(units[rated[test]])
        rows.append({"rating": rating, **_r(guess, truth, resamples=resamples, seed=seed), "folds": count})
    return pd.DataFrame(rows, columns=["rating", "r", "low", "high", "p", "n", "folds", "method"])


def _r(one: np.ndarray, other: np.ndarray, *, resamples: int, seed: int) -> dict[str, Any]:
    """Pearson's r over emotions with a 95 % interval and a permutation p."""
    if len(one) < LEAST_RATED or np.ptp(one) == 0 or np.ptp(other) == 0:
        why = "too few rated emotions" if len(one) < LEAST_RATED else "nothing varies"
        return {"r": np.nan, "low": np.nan, "high": np.nan, "p": np.nan, "n": len(one), "method": f"none: {why}"}
    found = correlation(one, other, resamples=resamples, seed=seed)
    return {"r": found.value, "low": found.low, "high": found.high, "p": found.p, "n": found.n, "method": found.method}
