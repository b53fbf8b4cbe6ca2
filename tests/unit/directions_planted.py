"""Planted activations for the tests of directions: emotions as known directions, topics as shifts, a large offset."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from emovec_sae.sites import Site

MODEL = {"name": "planted", "fingerprint": "model-a", "dtype": "float32", "d_model": 24, "n_layers": 4}
SITES = (Site("resid_post", 1), Site("resid_post", 2))


def store(frame: pd.DataFrame, values: dict[Site, np.ndarray], **changes: Any) -> Any:
    """An in-memory store with the attributes that directions read."""
    facts: dict[str, Any] = {
        "frame": frame.reset_index(drop=True),
        "sites": tuple(values),
        "pools": ("mean",),
        "offset": 5,
        "model": dict(MODEL),
        "residual_norm": {str(site): 40.0 + site.layer for site in values},
        "corpus_hash": "corpus-a",
        "fingerprint": "store-a",
    }
    return SimpleNamespace(pooled=lambda site, pool="mean": values[site], **(facts | changes))


def planted(
    *, emotions: int = 6, groups: int = 5, repeats: int = 1, noise: float = 0.4, seed: int = 0, d: int = 24
) -> tuple[Any, np.ndarray]:
    """A store whose second site carries the emotions and whose first is noise, and the planted unit directions."""
    random = np.random.default_rng(seed)
    truth = np.linalg.qr(random.normal(size=(d, d)))[0][:emotions]
    y = np.repeat(np.arange(emotions), groups * repeats)
    group = np.tile(np.repeat(np.arange(groups), repeats), emotions)
    offset, shift = 30 * random.normal(size=d), 0.3 * random.normal(size=(groups, d))
    clean = offset + shift[group] + noise * random.normal(size=(len(y), d))
    frame = pd.DataFrame(
        {
            "id": [f"t{row}" for row in range(len(y))],
            "text": [
                f"plain words number {row} about topic{group[row]} word{random.integers(9)}" for row in range(len(y))
            ],
            "emotion": [f"e{code}" for code in y],
            "group": [f"g{code}" for code in group],
        }
    )
    values = {
        SITES[0]: (offset + random.normal(size=(len(y), d))).astype(np.float32),
        SITES[1]: (clean + 3 * truth[y]).astype(np.float32),
    }
    return store(frame, values), truth


def some(acts: Any, rows: np.ndarray) -> Any:
    """The chosen rows of a store."""
    rows = np.flatnonzero(rows) if rows.dtype == bool else rows
    values = {site: acts.pooled(site)[rows] for site in acts.sites}
    kept = {name: value for name, value in vars(acts).items() if name not in ("pooled", "frame", "sites")}
    return store(acts.frame.iloc[rows], values, **kept)


def neutral(axis: np.ndarray, *, n: int = 60, seed: int = 3, **changes: Any) -> Any:
    """Neutral texts at both sites that vary mostly along `axis`."""
    random = np.random.default_rng(seed)
    values = {
        site: (random.normal(size=(n, 1)) * 20 * axis + random.normal(size=(n, len(axis)))).astype(np.float32)
        for site in SITES
    }
    frame = pd.DataFrame(
        {"id": [f"n{i}" for i in range(n)], "text": [f"neutral {i}" for i in range(n)], "emotion": None}
    )
    return store(frame, values, **({"corpus_hash": "neutral", "fingerprint": "store-n"} | changes))
