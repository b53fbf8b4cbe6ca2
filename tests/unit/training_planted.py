"""A store of planted sparse codes, small enough to train on in a second."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from memory_store import SITE, MemoryStore

D, ATOMS, D_SAE = 16, 24, 32


def atoms(d=D, seed=0):
    """Unit rows, (24, d); `sparse_store` of the same seed is made of them."""
    rows = np.random.default_rng(seed).standard_normal((ATOMS, d))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def sparse_store(*, texts=80, d=D, seed=0, draw=0, prefix="t", sinks=True, site=SITE, fingerprint="f" * 64):
    """Texts of 50 tokens of 3 out of 24 latents on a raised mean, norm about 40, and two sinks of norm 9,000."""
    rng, rows = np.random.default_rng([seed, draw]), atoms(d, seed)
    made = []
    for _ in range(texts):
        f = np.zeros((50, ATOMS))
        np.put_along_axis(f, np.argsort(rng.random(f.shape), axis=1)[:, :3], rng.uniform(8, 16, (50, 3)), axis=1)
        made.append(f @ rows + 9.0)
    if sinks:
        made[3][0] = made[texts // 2][1] = 9000 / d**0.5
    frame = pd.DataFrame({"id": [f"{prefix}{i}" for i in range(texts)], "group": [f"g{i % 8}" for i in range(texts)]})
    frame = frame.assign(text="x", emotion="e", n_tokens=50)
    store = MemoryStore(made, frame, site=site, fingerprint=fingerprint)
    store.fingerprint = f"store {prefix}{texts}"
    return store


def recovery(coder, rows):
    """Mean over the atoms of the largest cosine with a decoder row."""
    return float((torch.from_numpy(rows).float() @ coder.directions.T).max(1).values.mean())
