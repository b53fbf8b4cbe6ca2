"""Permutation tests of every latent in every emotion: seconds and memory, and the p of a plain loop beside them.

    .venv/bin/python benchmarks/latent_tests.py [--quick] [--emotions 171] [--groups 16] [--permutations 999 9999]
                                                [--threads N]

Tables of cells as a sparse SAE gives them (firing rates from 0.1 % to 50 %, exponential activations), 4,608 and 16,384
latents, with 20 latents an emotion that are planted. `peak_mib` is what the tests add to the resident memory of a fresh
process; `largest_difference` compares the p of 20 latents with permutations drawn one by one, in standard errors.
Prints one JSON object a size.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from emovec_sae.decomposition.cells import Cells
from emovec_sae.decomposition.significance import significance
from emovec_sae.decomposition.text_means import TextMeansWriter

SIZES = (4_608, 16_384)
QUICK = (512,)
CHECKED = 20
"""Latents that a plain loop tests again."""


def draw(emotions: int, groups: int, d_sae: int) -> Cells:
    """Cells of one text each."""
    rng = np.random.default_rng(0)
    rate = np.exp(rng.uniform(np.log(1e-3), np.log(0.5), d_sae)).astype(np.float32)
    table = rng.standard_exponential((emotions * groups, d_sae), dtype=np.float32)
    table *= rng.random((emotions * groups, d_sae), dtype=np.float32) < rate
    for e in range(emotions):
        own = rng.choice(d_sae, CHECKED, replace=False)
        table[e * groups : (e + 1) * groups, own] += 0.6 * rng.standard_exponential((groups, CHECKED), dtype=np.float32)
    none, few = np.zeros((emotions * groups, 1)), np.zeros((emotions, 1), dtype=np.int32)
    names = [tuple(map(str, range(n))) for n in (emotions, groups)]
    fired = (table > 0).sum(0).astype(float)
    return Cells(
        names[0], names[1], np.ones((emotions, groups), dtype=np.int64), table, none, none, fired, none[0],
        120 * emotions * groups, few[:, 0], few, few, TextMeansWriter().finish(),
    )  # fmt: skip


def plainly(cells: Cells, emotion: int, latents: np.ndarray, permutations: int) -> np.ndarray:
    """P values of one emotion's latents, permutation by permutation."""
    rng, shape = np.random.default_rng(1), cells.n_texts.shape
    values = cells.latents[:, latents].reshape(*shape, len(latents)).astype(float)
    values -= values.mean(0)
    observed, reached = np.abs(values[emotion].sum(0)), np.zeros(len(latents))
    for _ in range(permutations):
        picked = values[rng.integers(shape[0], size=shape[1]), range(shape[1])]
        reached += np.abs(picked.sum(0)) >= observed * (1 - 1e-5)
    return (reached + 1) / (permutations + 1)


def measure(emotions: int, groups: int, d_sae: int, permutations: int) -> dict[str, Any]:
    """One size, in this process."""
    cells = draw(emotions, groups, d_sae)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    found = significance(cells, range(emotions), permutations=permutations)
    taken = time.perf_counter() - start
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    latents = np.random.default_rng(2).choice(np.flatnonzero(found.tested), CHECKED, replace=False)
    ours, theirs = found.p[0, latents], plainly(cells, 0, latents, permutations)
    spread = np.sqrt(2 * np.maximum(ours * (1 - ours), 1 / permutations) / permutations)
    told = [found.summary(row) for row in range(emotions)]
    return {
        "emotions": emotions, "groups": groups, "d_sae": d_sae, "permutations": permutations,
        "threads": torch.get_num_threads(), "seconds": round(taken, 2), "peak_mib": round(added, 1),
        "table_mib": round(cells.latents.nbytes / 2**20, 1), "tested": int(found.tested.sum()),
        "max_t_of_20": float(np.mean([one["n_max_t"] for one in told])),
        "max_t_by_chance": float(np.mean([one["null_max_t"] for one in told])),
        "largest_difference": round(float((np.abs(ours - theirs) / spread).max()), 2),
    }  # fmt: skip


def main() -> None:
    """Each size in a fresh process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--emotions", type=int, default=171)
    parser.add_argument("--groups", type=int, default=16)
    parser.add_argument("--permutations", type=int, nargs="+", default=[999, 9999])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.one:
        with threadpool_limits(options.threads):
            found = measure(options.emotions, options.groups, options.one, options.permutations[0])
        sys.stdout.write(json.dumps(found) + "\n")
        return
    shared = [
        "--emotions",
        str(options.emotions),
        "--groups",
        str(options.groups),
        "--threads",
        str(options.threads),
    ]
    for d_sae in QUICK if options.quick else SIZES:
        for permutations in options.permutations:
            one = ["--one", str(d_sae), "--permutations", str(permutations), *shared]
            subprocess.run([sys.executable, str(Path(__file__).resolve()), *one], check=True)  # noqa: S603  ourselves


if __name__ == "__main__":
    main()
