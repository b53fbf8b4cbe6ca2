"""Recordings killed at random moments and resumed; run by the test beside it, prints one JSON object.

Every attempt is a fork of this process, which has the model in memory: imports would take longer than the recordings.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")

import torch  # noqa: E402

from emovec_sae.provenance import file_digest, read_json  # noqa: E402
from emovec_sae.recording import job  # noqa: E402
from emovec_sae.recording.plan import make_plan  # noqa: E402
from emovec_sae.recording.record import record  # noqa: E402
from emovec_sae.store.reader import open_activations  # noqa: E402
from emovec_sae.store.verify import verify  # noqa: E402
from emovec_sae.testing import tiny_corpus, tiny_model  # noqa: E402

SITES = {"resid_post.1": ("mean", "last", "max", "none"), "mlp_out.2": ("mean",)}
job.make_plan = partial(make_plan, per_shard=4)
torch.set_num_threads(1)


def run(out: Path) -> None:
    record(tiny_model(), tiny_corpus(repeats=8), sites=SITES, offset=5, budget=130, out=out)


def forked(out: Path, after: float | None) -> float:
    """Record in a child, killed `after` some seconds; gives how long it lived."""
    began = time.perf_counter()
    child = os.fork()
    if child == 0:
        run(out)
        os._exit(0)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return time.perf_counter() - began


def shards(out: Path) -> dict[str, str]:
    return {one.name: file_digest(one) for one in out.glob("shard-*.h5")}


def main(base: Path, times: int) -> None:
    run(base / "warm")  # imports what a recording needs, once for every child
    length = forked(base / "right", None)
    right = shards(base / "right")
    found: list[dict[str, Any]] = []
    for number in range(times):
        out = base / f"store{number}"
        forked(out, random.uniform(0, length))
        left = shards(out)
        foreign = {name for name, digest in left.items() if right.get(name) != digest}
        times_before = {name: (out / name).stat().st_mtime_ns for name in left}
        complete = (out / "manifest.json").is_file()
        forked(out, None)
        found.append(
            {
                "kept": len(left),
                "complete": complete,
                "foreign": sorted(foreign),
                "made_again": sorted(name for name in left if (out / name).stat().st_mtime_ns != times_before[name]),
                "same": shards(out) == right and verify(out).ok,
                "manifest": same_but_provenance(out, base / "right"),
                "litter": sorted(one.name for one in out.iterdir() if one.name.startswith(".") and one.name != ".lock"),
                "texts": len(open_activations(out)),
            }
        )
    print(json.dumps({"shards": len(right), "runs": found}))


def same_but_provenance(one: Path, other: Path) -> bool:
    first, second = (read_json(path / "manifest.json") for path in (one, other))
    return {**first, "provenance": 0} == {**second, "provenance": 0}


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
