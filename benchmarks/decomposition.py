"""Orthogonal matching pursuit of many directions at once beside scikit-learn's `orthogonal_mp`.

    .venv/bin/python benchmarks/decomposition.py [--quick] [--targets 171] [--k 32] [--sample N] [--threads N]

Two dictionaries of random unit rows, 16,384 x 640 and 65,536 x 2,304, that lean a little the same way as decoders do;
each target is a signed sum of 24 rows and noise. Both sides get the same float32 arrays and the same threads, in turn,
ours twice (the better counts). scikit-learn goes through the targets one by one, so it is run on the first `--sample`
targets only and its time multiplied up (the table says `sample`; `--sample 0` runs all of them). The other pursuits are
timed beside ours for orientation. `supports equal` is the share of the sampled targets with the same set of rows, those
left out that scikit-learn gave up early (`given up`); `random target cosine` is what chance reaches; `memory` is what
our run adds to the resident memory of a fresh process at its peak, beside the size of the dictionary. Prints one JSON
object a dictionary.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import orthogonal_mp
from threadpoolctl import threadpool_limits

from emovec_sae.decomposition.pursuits import PURSUITS, Dictionary

SIZES = ((16_384, 640), (65_536, 2_304))
QUICK = ((2_048, 128),)
PLANTED = 24
"""Rows that a target is made of."""


def draw(n: int, d: int, targets: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows (n, d) and targets (targets, d), float32."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((n, d), dtype=np.float32) + 0.3 * rng.standard_normal(d, dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    made = np.empty((targets, d), dtype=np.float32)
    for row in made:
        chosen = rng.choice(n, PLANTED, replace=False)
        weights = rng.standard_normal(PLANTED).astype(np.float32)
        row[:] = weights @ rows[chosen] + rng.standard_normal(d, dtype=np.float32) / np.sqrt(d)
    return rows, made


def seconds(work: Callable[[], Any], *, times: int = 1) -> tuple[float, Any]:
    """The best time of some runs, and what the last gave."""
    taken: list[float] = []
    found = None
    for _ in range(times):
        start = time.perf_counter()
        found = work()
        taken.append(time.perf_counter() - start)
    return min(taken), found


def pursue(name: str, rows: np.ndarray, targets: np.ndarray, k: int) -> Any:
    """One of our pursuits, its dictionary prepared anew."""
    with torch.no_grad():
        return PURSUITS[name].run(torch.from_numpy(targets), Dictionary(torch.from_numpy(rows)), k=k)


def by_chance(rows: np.ndarray, k: int) -> float:
    """The mean cosine that `omp` reaches on isotropic random targets."""
    drawn = np.random.default_rng(1).standard_normal((40, rows.shape[1]), dtype=np.float32)
    left = np.linalg.norm(residual(rows, drawn, k), axis=1) / np.linalg.norm(drawn, axis=1)
    return float(np.sqrt(1 - left**2).mean())


def residual(rows: np.ndarray, targets: np.ndarray, k: int) -> np.ndarray:
    """What `omp` leaves of targets."""
    found = pursue("omp", rows, targets, k)
    return targets - np.einsum("bk,bkd->bd", found.coefficients(k).numpy(), rows[found.support.numpy()])


def resident(what: str) -> int:
    """``VmRSS`` or its peak ``VmHWM`` of this process in MiB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(what))


def added_memory(n: int, d: int, targets: int, k: int) -> int:
    """MiB that a pursuit adds to the peak of a fresh process which holds the dictionary."""
    told = subprocess.run(  # noqa: S603  this very file, with numbers
        [sys.executable, __file__, "--child", str(n), str(d), "--targets", str(targets), "--k", str(k)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return int(told.stdout)


def child(n: int, d: int, targets: int, k: int) -> None:
    """Print the growth of the peak in this process."""
    rows, made = draw(n, d, targets)
    small = torch.from_numpy(rows[:256].copy())
    PURSUITS["omp"].run(torch.from_numpy(made[:2]), Dictionary(small), k=4)  # libraries loaded, their buffers made
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = resident("VmRSS")
    pursue("omp", rows, made, k)
    sys.stdout.write(f"{resident('VmHWM') - before}\n")


def measure(n: int, d: int, *, targets: int, k: int, sample: int, others: bool) -> dict[str, Any]:
    """One row of the table."""
    rows, made = draw(n, d, targets)
    ours, found = seconds(lambda: pursue("omp", rows, made, k), times=2)
    some = made[: sample or targets]
    # scikit-learn copies the transposed dictionary for each target unless it is in Fortran order and may be changed.
    theirs, table = seconds(lambda: orthogonal_mp(rows.T, some.T, n_nonzero_coefs=k))
    theirs *= targets / len(some)
    chosen = np.atleast_2d(np.asarray(table).T) != 0
    whole = chosen.sum(1) == k  # scikit-learn gives up where rounding makes its Gram matrix look singular
    both = zip(chosen[whole], found.support[: len(some)][torch.from_numpy(whole)].tolist(), strict=True)
    same = [set(np.flatnonzero(one)) == set(own) for one, own in both]
    told: dict[str, Any] = {
        "dictionary": [n, d], "targets": targets, "k": k, "threads": torch.get_num_threads(), "omp s": round(ours, 2),
        "orthogonal_mp s": round(theirs, 1), "sample": len(some), "given up": int((~whole).sum()),
        "ratio": round(theirs / ours, 1), "supports equal": round(float(np.mean(same)), 4),
        "random target cosine": round(by_chance(rows, k), 2),
        "memory MiB": added_memory(n, d, targets, k), "dictionary MiB": rows.nbytes // 2**20,
    }  # fmt: skip
    if others:
        told["others s"] = {
            name: round(seconds(lambda name=name: pursue(name, rows, made, k))[0], 2)
            for name in PURSUITS
            if name != "omp"
        }
    return told


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small dictionary, to see that it runs")
    parser.add_argument("--targets", type=int, default=171)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--sample", type=int, default=None, help="targets for scikit-learn; 0 for all")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--child", type=int, nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.child:
        n, d = given.child
        child(n, d, given.targets, given.k)
        return
    with threadpool_limits(given.threads):
        for n, d in QUICK if given.quick else SIZES:
            # All targets where that takes a minute; of the large dictionary a few, at several seconds each.
            sample = given.sample if given.sample is not None else (0 if n * d < 2**24 else 6)
            told = measure(n, d, targets=given.targets, k=given.k, sample=sample, others=not given.quick)
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
