"""Tables of figures that are made of what a run has already: no model is loaded, nothing is measured again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from emovec_sae.provenance import read_json
from emovec_sae.studies.tables import read_table

_DEALT = 500
"""Times that emotions are dealt out to families at random."""


def lens_table(path: Path) -> pd.DataFrame:
    """The logit lens of the emotions that the similarity shows: more would not fit on a page."""
    shown = set(read_table(path, "similarity")["emotion_a"])
    lens = read_table(path, "logit_lens")
    return lens[lens["emotion"].isin(shown)].reset_index(drop=True)


def families_table(path: Path) -> pd.DataFrame:
    """Mean cosines within and between the families, beside emotions dealt out to families of the same sizes."""
    from emovec_sae.directions.files import load_directions

    about = read_table(path, "vector_map").dropna(subset=["family"])
    directions = load_directions(path / "directions.safetensors")
    units = directions.units[[directions.index(str(name)) for name in about["emotion"]]]
    cosines = (units @ units.T).astype(float)
    names = list(dict.fromkeys(about["family"].astype(str)))
    member = np.stack([(about["family"] == name).to_numpy() for name in names]).astype(float)
    pairs = member.sum(1)[:, None] * member.sum(1)[None] - np.diag(member.sum(1))
    rng = np.random.default_rng(_seed(path))
    drawn = np.stack([_means(cosines, member[:, rng.permutation(len(about))], pairs) for _ in range(_DEALT)])
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    own = _means(cosines, member, pairs)
    rows = [
        {
            "family": one, "other": two, "cosine": own[i, j], "null_low": low[i, j], "null_high": high[i, j],
            "n": int(pairs[i, j] / (2 if i == j else 1)),
        }
        for i, one in enumerate(names)
        for j, two in enumerate(names)
    ]  # fmt: skip
    return pd.DataFrame(rows).dropna(subset=["cosine"])


def _means(cosines: np.ndarray, member: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Means over pairs of different emotions, shape (families, families); NaN within a family of one."""
    sums = member @ cosines @ member.T - np.diag(member @ np.diag(cosines))
    return np.divide(sums, pairs, out=np.full_like(sums, np.nan), where=pairs > 0)


def k_curves_table(path: Path) -> pd.DataFrame:
    """Cosine against k of every decomposition of the run, with its nulls, means over emotions."""
    from emovec_sae.decomposition.files import load_decomposition
    from emovec_sae.decomposition.null_tables import curve_rows

    parts: list[pd.DataFrame] = []
    for method in ("contrast", "omp"):
        curves = load_decomposition(path / f"{method}.parquet").curves
        rows = curve_rows(curves, method=method, quantity="cosine", emotion=None, seed=_seed(path))
        parts.append(rows.rename(columns={"x": "k"}).drop(columns="null").assign(method=method))
    return pd.concat(parts, ignore_index=True)


def latents_table(path: Path) -> pd.DataFrame:
    """The heat map's cells, with how many emotions each latent serves."""
    from emovec_sae.decomposition.files import load_decomposition
    from emovec_sae.decomposition.sharing import sharing

    cells = read_table(path, "latents_by_emotion")
    found = load_decomposition(path / "contrast.parquet")
    if len(found) < 3:  # sharing is between emotions, and two share everything or nothing
        return cells
    shared = sharing(found, draws=1, seed=_seed(path)).table[["latent", "participation", "generic"]]
    return cells.merge(shared, on="latent", how="left")


def frontier_table(path: Path) -> pd.DataFrame:
    """Mean effect over emotions against the divergence on neutral text, by arm and level."""
    from emovec_sae.stats import bootstrap_mean

    effects = read_table(path, "effects")
    section = read_json(path / "study.json")["study"]["interventions"]
    drawn = {"raw", "random", *(f"k={k}" for k in section["sizes"])}
    rows: list[dict[str, Any]] = []
    for (arm, _), some in effects[effects["arm"].isin(drawn)].groupby(["arm", "level"], sort=False):
        # the emotions that have every dose: a mean over others at each would not be one curve
        some = some[some["emotion"].isin(section["arms_for"])]
        if some.empty:
            continue
        mean = bootstrap_mean(some["effect"].to_numpy(dtype=float), seed=_seed(path))
        rows.append(
            {"arm": arm, "damage": float(some["kl"].mean()), "effect": mean.value, "low": mean.low, "high": mean.high,
             "n": len(some)}
        )  # fmt: skip
    return pd.DataFrame(rows)


def k90_table(path: Path) -> pd.DataFrame:
    """Ratios of the latent arms to the raw vector by emotion, selector and k, and over all emotions."""
    from emovec_sae.charts.k90 import POOLED
    from emovec_sae.interventions.comparison.names import read_name
    from emovec_sae.interventions.comparison.result import load_comparison

    found, level = load_comparison(path / "comparison.parquet"), _level(path)
    each = found.ratios_by_emotion(level, seed=_seed(path))
    pooled = found.ratios(level, seed=_seed(path))
    every = pooled.assign(emotion=POOLED, n=pooled["prompts"])[list(each.columns)]
    table = pd.concat([every, each], ignore_index=True)
    read = [read_name(str(arm)) for arm in table["arm"]]
    kept = [(row, one) for row, one in enumerate(read) if one is not None and one.kind == "latents"]
    named = table.iloc[[row for row, _ in kept]].assign(
        selector=[one.selector for _, one in kept], k=[one.k for _, one in kept]
    )
    return named.drop(columns="arm").sort_values(["selector", "k"], kind="stable", ignore_index=True)


def specificity_table(path: Path) -> pd.DataFrame:
    """What the raw vector of each emotion does to the words of every emotion."""
    from emovec_sae.interventions.comparison.result import load_comparison

    found = load_comparison(path / "comparison.parquet")
    own = found.effects[(found.effects["arm"] == "raw") & (found.effects["level"] == _level(path))]
    table = found.specificity(_level(path)).drop(columns="own")
    return table.assign(n=own["prompt"].nunique())


DERIVED: dict[str, Callable[[Path], pd.DataFrame]] = {
    "logit_lens": lens_table,
    "families": families_table,
    "k_curves": k_curves_table,
    "latents_by_emotion": latents_table,
    "frontier": frontier_table,
    "k90": k90_table,
    "specificity": specificity_table,
}
"""Figure -> what makes its table of a run's folder, or raises the error of a file that is not there."""


def _level(path: Path) -> float:
    return float(read_json(path / "study.json")["study"]["interventions"]["level"])


def _seed(path: Path) -> int:
    return int(read_json(path / "study.json")["study"]["seed"])
