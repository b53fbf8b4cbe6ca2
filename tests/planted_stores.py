"""A store on disk whose every value is known: no model is needed to test how it is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from emovec_sae.store.reader import Activations, open_activations
from emovec_sae.store.shard import Shard
from emovec_sae.store.writer import writing

OFFSET = 3
"""First token that ``mean`` uses."""
SITE = "resid_post.1"
BARE = "resid_post.2"
"""A site with pooled values only."""


@dataclass(frozen=True)
class Planted:
    """A store and what is in it: ``values[row]`` (tokens, d_model) of text ``row``, at `SITE`."""

    acts: Activations
    values: list[np.ndarray]

    @property
    def all_tokens(self) -> np.ndarray:
        """Every token of every text."""
        return np.concatenate(self.values)


def plant(path: Path, *, texts: int = 13, d: int = 6, per_shard: int = 4, seed: int = 0) -> Planted:
    """Write a store of texts of 5 to 20 tokens; shards hold them in an order of their own."""
    random = np.random.default_rng(seed)
    lengths = random.integers(5, 20, texts)
    values = [random.normal(size=(length - 1, d)).astype(np.float32) for length in lengths]
    frame = pd.DataFrame(
        {
            "id": [f"t{row}" for row in range(texts)],
            "text": ["x"] * texts,
            "emotion": [f"e{row % 3}" for row in range(texts)],
            "group": [f"g{row % 4}" for row in range(texts)],
            "split": None,
            "lang": "en",
            "n_tokens": lengths,
        }
    )
    settings = {
        "model": {"name": "none", "fingerprint": "f", "dtype": "float32", "d_model": d, "n_layers": 3},
        "corpus": {"name": "planted", "hash": "h", "n_texts": texts},
        "sites": {SITE: ["mean", "last", "none"], BARE: ["mean"]},
        "pools": ["mean", "last", "none"],
        "offset": OFFSET,
    }
    order = np.argsort(lengths, kind="stable")
    parts = [order[first : first + per_shard] for first in range(0, texts, per_shard)]
    with writing(path, settings, frame) as writer:
        for index, rows in enumerate(parts):
            writer.write(index, _shard(rows, values, lengths))
        writer.finish(len(parts), {})
    return Planted(open_activations(path), values)


def _shard(rows: Sequence[int], values: list[np.ndarray], lengths: np.ndarray) -> Shard:
    some = [values[row] for row in rows]
    positions = [np.arange(1, lengths[row], dtype=np.int32) for row in rows]
    mean = np.stack([one[at >= OFFSET].mean(axis=0) for one, at in zip(some, positions, strict=True)])
    position = np.concatenate(positions)
    norms = np.linalg.norm(np.concatenate(some)[position >= OFFSET], axis=1)
    return Shard(
        rows=np.array(rows, np.int64),
        n_tokens=lengths[rows].astype(np.int32),
        start=np.concatenate([[0], np.cumsum([len(one) for one in some])]).astype(np.int64),
        token_id=np.concatenate([100 * row + at for row, at in zip(rows, positions, strict=True)]).astype(np.int32),
        position=position,
        pooled=position >= OFFSET,
        values={
            SITE: {"mean": mean, "last": np.stack([one[-1] for one in some]), "none": np.concatenate(some)},
            BARE: {"mean": -mean},
        },
        norms={SITE: (float(norms.sum()), len(norms)), BARE: (0.0, 1)},
    )
