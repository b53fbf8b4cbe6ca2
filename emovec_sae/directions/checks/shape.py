"""The shape of a direction set: spectrum, families, ratings; and whether it is the same elsewhere (RSA)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from emovec_sae.corpora.emotions import family_codes
from emovec_sae.directions.checks.reading import OF_VECTORS, told
from emovec_sae.directions.checks.result import Check, number, numbers
from emovec_sae.directions.direction_set import DirectionSet
from emovec_sae.directions.geometry import fit_geometry
from emovec_sae.directions.readouts import unit_rows
from emovec_sae.directions.threads import one_thread
from emovec_sae.errors import ConfigError
from emovec_sae.provenance import collect
from emovec_sae.stats import permutation_p

if TYPE_CHECKING:
    import altair as alt

_DRAWS, _PERMUTATIONS, _LOOKED, _MANTEL = 199, 1999, 3, 1999


class Shape(Check):
    """How directions lie; `table` has component, share, low, high (of the isotropic null), valence, arousal (r), n."""

    title: ClassVar[str] = "Do the directions lie as people's emotions do?"

    def plot(self) -> alt.Chart | alt.LayerChart | alt.VConcatChart | alt.HConcatChart:
        """Draw the share of variance of each component beside that of random vectors."""
        from emovec_sae.charts import draw

        return draw("spectrum", self.table)


def check_shape(directions: DirectionSet, norms: pd.DataFrame | None = None, *, seed: int = 0) -> Shape:
    """Spectrum, ratings and families of the unit vectors.

    Parameters
    ----------
    directions
        At least ten directions.
    norms
        Ratings (emotion, valence, arousal; 1 to 9); None means the packaged ones.
    seed
        Of the nulls and of k-means.

    Raises
    ------
    ConfigError
        If there are fewer than ten directions, or `norms` lacks a column.

    References
    ----------
    Sofroniew et al. 2026 (arXiv 2604.07729), section on the geometry of the vectors: PC1 against valence r = 0.81,
    PC2 against arousal r = 0.66; PC1 26 % and PC2 15 % of the variance.
    """
    if len(directions) < 10:
        raise ConfigError(f"{len(directions)} directions are too few for a shape; at least ten are needed")
    geometry = fit_geometry(directions, norms, seed=seed)
    units = directions.units.astype(np.float64)
    with one_thread():
        shares, null = _spectrum(units), _null_spectra(units.shape, seed)
        rows = [_component(code, shares, null) for code in (0, 1)]
        rows += [_best_component(geometry.correlations, rating) for rating in ("valence", "arousal")]
        rows += [_ridge(row) for row in geometry.ridge.to_dict("records")]
        rows += _families(directions, geometry.cosines, seed)
    looked = len(geometry.explained)
    by = geometry.correlations.pivot_table(index="component", columns="rating", values="r", sort=False)
    table = pd.DataFrame(
        {
            "component": np.arange(1, looked + 1), "share": shares[:looked], "null": null.mean(axis=0)[:looked],
            "low": np.quantile(null, 0.025, axis=0)[:looked], "high": np.quantile(null, 0.975, axis=0)[:looked],
            "valence": _column(by, "valence", looked), "arousal": _column(by, "arousal", looked), "n": len(directions),
        }
    )  # fmt: skip
    return Shape(
        numbers=numbers(rows),
        table=table,
        settings=told(directions, **OF_VECTORS, seed=seed, norms="packaged" if norms is None else "given"),
        provenance=collect(directions=directions.fingerprint, seed=seed),
    )


def _column(table: pd.DataFrame, rating: str, rows: int) -> np.ndarray:
    return table[rating].to_numpy() if rating in table else np.full(rows, np.nan)


def _spectrum(units: np.ndarray) -> np.ndarray:
    sizes = np.linalg.svd(units - units.mean(axis=0), compute_uv=False) ** 2
    return sizes / sizes.sum()


def _null_spectra(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Spectra of as many isotropic random unit vectors, shape (draws, min(n, d))."""
    rng = np.random.default_rng(seed)
    return np.stack([_spectrum(unit_rows(rng.normal(size=shape))) for _ in range(_DRAWS)])


def _component(code: int, shares: np.ndarray, null: np.ndarray) -> dict[str, Any]:
    p = float(permutation_p(shares[code], null[:, code]))
    return number(
        f"variance on PC{code + 1}", float(shares[code]), n=len(shares), null=float(null[:, code].mean()), p=p,
        note=f"{_DRAWS} sets of isotropic random vectors",
    )  # fmt: skip


def _best_component(table: pd.DataFrame, rating: str) -> dict[str, Any]:
    """The strongest correlation of a rating among the first components, its p corrected for having looked."""
    mine = table[table["rating"] == rating].head(_LOOKED).dropna(subset=["r"])
    if mine.empty:
        return number(f"{rating} on PC1 to PC{_LOOKED}, |r|", np.nan, n=0, note="no ratings")
    best: dict[Any, Any] = mine.iloc[int(mine["r"].abs().argmax())].to_dict()
    low, high = sorted((abs(best["low"]), abs(best["high"])))
    low = low if best["low"] * best["high"] > 0 else 0.0
    return number(
        f"{rating} on PC1 to PC{_LOOKED}, |r|", abs(best["r"]), low=low, high=high, n=int(best["n"]), null=0.0,
        p=min(1.0, best["p"] * len(mine)), note=f"on {best['component']}; p times {len(mine)} looks",
    )  # fmt: skip


def _ridge(row: Mapping[Any, Any]) -> dict[str, Any]:
    return number(
        f"{row['rating']} read by ridge, r", row["r"], low=row["low"], high=row["high"], n=int(row["n"]), null=0.0,
        p=row["p"], note=f"{row['folds']}-fold cross-validation over emotions",
    )  # fmt: skip


def _families(directions: DirectionSet, cosines: np.ndarray, seed: int) -> list[dict[str, Any]]:
    """Adjusted Rand index of two clusterings with the packaged families."""
    families = family_codes(directions.emotions)
    if families is None:
        return []
    count = len(np.unique(families))
    distance = np.clip(1 - (cosines + cosines.T) / 2, 0, None)
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), method="average")
    found = {
        "hierarchical": fcluster(tree, count, criterion="maxclust"),
        "k-means": KMeans(count, n_init="auto", random_state=seed).fit_predict(directions.units),
    }
    rng = np.random.default_rng(seed)
    rows = []
    for name, labels in found.items():
        value = adjusted_rand_score(families, labels)
        null = np.array([adjusted_rand_score(families, rng.permutation(labels)) for _ in range(_PERMUTATIONS)])
        low, high = _jackknife(families, labels)
        rows.append(
            number(
                f"families by {name}, adjusted Rand", float(value), low=low, high=high, n=len(directions),
                null=float(null.mean()), p=float(permutation_p(value, null)),
                note=f"{count} families of the source; labels permuted; jackknife interval over emotions",
            )
        )  # fmt: skip
    return rows


def _jackknife(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Interval of an adjusted Rand index, leaving out one emotion at a time (the clusters stay)."""
    n = len(one)
    left = np.array([adjusted_rand_score(np.delete(one, row), np.delete(other, row)) for row in range(n)])
    value = adjusted_rand_score(one, other)
    half = 1.96 * np.sqrt((n - 1) / n * np.square(left - left.mean()).sum())
    return float(value - half), float(value + half)


class Similarity(Check):
    """Representational similarity of direction sets; `table` has one, other (names), r, low, high, p, n."""

    title: ClassVar[str] = "Is the similarity of emotions the same elsewhere?"

    def plot(self) -> alt.Chart | alt.LayerChart | alt.VConcatChart | alt.HConcatChart:
        """Draw the correlations between all sets."""
        from emovec_sae.charts import draw

        return draw("rsa", self.table)


def compare_similarity(sets: Mapping[str, DirectionSet], *, seed: int = 0) -> Similarity:
    """Correlate the cosines between emotions in one set with those in another (RSA), for all pairs of sets.

    Parameters
    ----------
    sets
        Name -> directions, of any sites and models; emotions that all have are compared.
    seed
        Of the permutation of emotions (Mantel test).

    Raises
    ------
    ConfigError
        If there are fewer than two sets or five common emotions.

    References
    ----------
    Kriegeskorte, Mur and Bandettini 2008, Representational similarity analysis. Mantel 1967 (the permutation).
    """
    names = list(sets)
    common = [name for name in sets[names[0]].emotions if all(name in one for one in sets.values())] if names else []
    if len(names) < 2 or len(common) < 5:
        raise ConfigError(
            f"{len(names)} sets with {len(common)} common emotions; two sets and five emotions are needed"
        )
    cosines = np.stack([_cosines(one, common) for one in sets.values()])
    with one_thread():
        r, p = _mantel(cosines, seed)
        low, high = _jackknife_r(cosines, r)
    pairs = [(left, right) for left in range(len(names)) for right in range(len(names))]
    table = pd.DataFrame(
        [
            {"one": names[left], "other": names[right], "r": r[left, right], "low": low[left, right],
             "high": high[left, right], "p": p[left, right], "n": len(common)}
            for left, right in pairs
        ]
    )  # fmt: skip
    off = table[table["one"] != table["other"]]
    worst: dict[Any, Any] = off.iloc[int(off["r"].argmin())].to_dict()
    note = f"{len(names)} sets, {len(common)} emotions; jackknife intervals over emotions"
    return Similarity(
        numbers=numbers(
            [
                number("mean r between sets", float(off["r"].mean()), n=len(off) // 2, null=0.0,
                       p=float(off["p"].max()), note=f"{note}; p is the largest"),
                number("lowest r between sets", float(worst["r"]), low=float(worst["low"]), high=float(worst["high"]),
                       n=len(common), null=0.0, p=float(worst["p"]), note=f"{worst['one']} and {worst['other']}"),
            ]
        ),
        table=table,
        settings={
            "sets": {name: f"{one.model.get('name')} {one.site}" for name, one in sets.items()},
            "site": f"{len(names)} sets", **OF_VECTORS, "seed": seed,
        },
        provenance=collect(directions=[one.fingerprint for one in sets.values()], seed=seed),
    )  # fmt: skip


def _cosines(one: DirectionSet, emotions: list[str]) -> np.ndarray:
    units = one.units[[one.index(emotion) for emotion in emotions]].astype(np.float64)
    return units @ units.T


def _standard(cosines: np.ndarray) -> np.ndarray:
    """Matrices (s, n, n) of which the products of entries sum to Pearson's r of the upper triangles."""
    n = cosines.shape[1]
    apart = ~np.eye(n, dtype=bool)
    found = np.where(apart, cosines - cosines[:, apart].mean(axis=1)[:, None, None], 0.0)
    return found / np.linalg.norm(found.reshape(len(found), -1), axis=1)[:, None, None]


def _mantel(cosines: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pearson's r of all pairs of matrices (s, n, n), and its one-sided p over emotions permuted in one of them."""
    sets, n = cosines.shape[:2]
    # A row an ordered pair of emotions, so that a permutation picks whole rows.
    rows = np.ascontiguousarray(_standard(cosines).reshape(sets, -1).T)
    one, other = np.triu_indices(n, 1)
    upper = 2 * rows[one * n + other].T
    rng = np.random.default_rng(seed)
    null = np.empty((_MANTEL, sets, sets))
    for draw in range(_MANTEL):
        order = rng.permutation(n)
        null[draw] = upper @ rows[order[one] * n + order[other]]
    value = upper @ rows[one * n + other]
    found = [[permutation_p(value[a, b], null[:, a, b]) for b in range(sets)] for a in range(sets)]
    return value, np.array(found, dtype=float)


def _jackknife_r(cosines: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intervals of r, leaving out one emotion at a time, each of shape (s, s)."""
    n = cosines.shape[1]
    left = np.empty((n, *value.shape))
    for row in range(n):
        keep = np.delete(np.arange(n), row)
        flat = _standard(cosines[:, keep][:, :, keep]).reshape(len(cosines), -1)
        left[row] = flat @ flat.T
    half = 1.96 * np.sqrt((n - 1) / n * np.square(left - left.mean(axis=0)).sum(axis=0))
    return np.clip(value - half, -1, 1), np.clip(value + half, -1, 1)
