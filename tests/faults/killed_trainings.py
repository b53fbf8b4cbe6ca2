"""Trainings killed at random moments and started again; run by the test beside it, prints one JSON object.

Every attempt is a fork of this process, which has the libraries in memory: imports would take longer than a training.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path

warnings.simplefilter("ignore")

import torch  # noqa: E402
from planted_stores import SITE, plant  # noqa: E402

from emovec_sae.provenance import file_digest  # noqa: E402
from emovec_sae.saes.train import train_saes  # noqa: E402
from emovec_sae.store.reader import Activations, open_activations  # noqa: E402

torch.set_num_threads(1)


def run(store: Activations, out: Path) -> None:
    train_saes(
        store, sites=[SITE], seeds=[0, 1], out=out, d_sae=24, k=2, tokens=16 * 100, batch=16, checkpoint_seconds=0.01
    )


def forked(store: Activations, out: Path, after: float | None) -> float:
    """Train in a child, killed `after` some seconds; gives how long it lived."""
    began = time.perf_counter()
    child = os.fork()
    if child == 0:
        run(store, out)
        os._exit(0)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if after is None and status:
        raise SystemExit(f"a training that nobody killed ended with {status}")
    return time.perf_counter() - began


def weights(out: Path) -> dict[str, str]:
    return {str(one.relative_to(out)): file_digest(one) for one in sorted(out.rglob("sae_weights.safetensors"))}


def main(base: Path, times: int) -> None:
    """Kill `times` trainings twice each, and more until four different steps were seen, at most eight times as many."""
    plant(base / "acts", texts=40)
    store = open_activations(base / "acts")
    run(store, base / "warm")  # imports what a training needs, once for every child
    length = forked(store, base / "right", None)
    right, found, moments = weights(base / "right"), [], set[str]()
    for number in range(8 * times):
        if number >= times and len(moments) > 3:
            break
        out = base / f"saes{number}"
        steps: list[str] = []
        for _ in range(2):
            forked(store, out, random.uniform(0, length))
            steps += [one.name for one in out.with_name(f"{out.name}.unfinished").glob("step-*")]
        moments.update(steps)
        early = weights(out) if out.exists() else {}
        forked(store, out, None)
        litter = [one.name for one in base.iterdir() if one.name.startswith((f".{out.name}", f"{out.name}."))]
        litter += [one.name for one in out.rglob(".*")]
        found.append({"steps": steps, "early": len(early), "same": weights(out) == right, "litter": litter})
    print(json.dumps({"saes": len(right), "runs": found}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
