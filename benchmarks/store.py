"""The store: writing, reading in order, the shuffled stream for training, pooled values; beside what bounds each.

    .venv/bin/python benchmarks/store.py [--texts 2560] [--rounds 3]

Values are normal, cut to bfloat16 as a model's are; d_model 576. The bound of reading is h5py reading the same array in
one go from each shard; of writing, the same bytes without compression written and synced. Prints one JSON object; quote
the ratios. GB are of float32 values, not of what is on the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from emovec_sae.store.reader import Activations, open_activations
from emovec_sae.store.shard import Shard
from emovec_sae.store.writer import writing

D, TOKENS, PER_SHARD, SITE = 576, 120, 128, "resid_post.18"


def shard(first: int, random: np.random.Generator) -> Shard:
    """A shard of texts of equal length."""
    values = random.normal(scale=8, size=(PER_SHARD * TOKENS, D)).astype(np.float32)
    values = (values.view(np.uint32) & 0xFFFF0000).view(np.float32)
    position = np.tile(np.arange(1, TOKENS + 1, dtype=np.int32), PER_SHARD)
    means = values.reshape(PER_SHARD, TOKENS, D).mean(axis=1)
    return Shard(
        rows=np.arange(first, first + PER_SHARD),
        n_tokens=np.full(PER_SHARD, TOKENS + 1, np.int32),
        start=np.arange(0, PER_SHARD * TOKENS + 1, TOKENS),
        token_id=random.integers(0, 49152, len(position), dtype=np.int32),
        position=position,
        pooled=position >= 20,
        values={SITE: {"mean": means, "none": values}},
        norms={SITE: (1.0, 1)},
    )


@contextmanager
def timed(seconds: dict[str, list[float]], name: str) -> Iterator[None]:
    """Add the time of the block."""
    began = time.perf_counter()
    yield
    seconds.setdefault(name, []).append(time.perf_counter() - began)


def write(folder: Path, texts: int, seconds: dict[str, list[float]]) -> Activations:
    """Write a store, and the same values raw beside it."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"id": [f"t{row}" for row in range(texts)], "text": "x", "emotion": "e", "group": "g"})
    settings = {
        "model": {"name": "none", "d_model": D},
        "corpus": {"name": "benchmark", "hash": "h", "n_texts": texts},
        "sites": {SITE: ["mean", "none"]},
        "pools": ["mean", "none"],
        "offset": 20,
    }
    with writing(folder, settings, frame.assign(split=None, lang="en", n_tokens=TOKENS + 1)) as writer:
        for index in range(texts // PER_SHARD):
            made = shard(index * PER_SHARD, random)
            with timed(seconds, "write"):
                writer.write(index, made)
            with timed(seconds, "write raw"):
                raw = folder / ".raw"
                raw.write_bytes(made.values[SITE]["none"].tobytes())
                with raw.open("rb") as file:
                    os.fsync(file.fileno())
            raw.unlink()
        writer.finish(texts // PER_SHARD, {})
    return open_activations(folder)


def sequential(acts: Activations) -> int:
    """Plain h5py, an array a shard."""
    count = 0
    for path in acts.shards:
        with h5py.File(path) as file:
            count += len(file[f"sites/{SITE}/none"][:])
    return count


def chunks(acts: Activations) -> int:
    """Whole texts in chunks, as decomposition reads them."""
    return sum(len(one.values) for one in acts.tokens(SITE))


def stream(acts: Activations) -> int:
    """One epoch of shuffled batches, as SAE training reads them."""
    wanted, count = acts.count_tokens(SITE), 0
    for batch in acts.shuffled(SITE, batch=4096, seed=0):
        count += len(batch)
        if count >= wanted - 4096:
            return count
    return count


def main() -> None:
    """Write once, read in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=2560)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        acts = write(Path(folder) / "store", options.texts, seconds)
        size = sum(one["bytes"] for one in acts.manifest["shards"])
        tokens = acts.count_tokens(SITE)
        ways: dict[str, Callable[[Activations], int]] = {"sequential": sequential, "chunks": chunks, "stream": stream}
        rates: dict[str, list[float]] = {}
        for _ in range(options.rounds):
            for name, way in ways.items():
                began = time.perf_counter()
                count = way(acts)
                rates.setdefault(name, []).append(count * D * 4 / 1e9 / (time.perf_counter() - began))
        with timed(seconds, "pooled"):
            acts.pooled(SITE)
    shard_gb = PER_SHARD * TOKENS * D * 4 / 1e9
    found = {
        "tokens": tokens,
        "bytes_a_value": round(size / (tokens * D), 2),
        "read_gb_per_second": {name: round(statistics.median(found), 2) for name, found in rates.items()},
        "to_sequential": {
            name: [round(a / b, 2) for a, b in zip(found, rates["sequential"], strict=True)]
            for name, found in rates.items()
        },
        "write_gb_per_second": {
            name: round(shard_gb / statistics.median(seconds[name]), 2) for name in ("write", "write raw")
        },
        "pooled_seconds": round(seconds["pooled"][0], 3),
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
