"""A local cluster of three nodes, and what goes wrong on it; run by the test beside it, prints one JSON object."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")
os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}

import ray  # noqa: E402
import torch  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402

from emovec_sae.errors import EmovecError  # noqa: E402
from emovec_sae.models.load import load_model  # noqa: E402
from emovec_sae.provenance import file_digest  # noqa: E402
from emovec_sae.recording import cluster as room  # noqa: E402
from emovec_sae.recording import job  # noqa: E402
from emovec_sae.recording.plan import make_plan  # noqa: E402
from emovec_sae.recording.record import record  # noqa: E402
from emovec_sae.testing import tiny_corpus, tiny_folder  # noqa: E402

SITES = {"resid_post.1": ("mean", "last", "none"), "resid_post.2": ("mean",)}
VICTIM = 2
job.make_plan = partial(make_plan, per_shard=2)


class Mortal(room.Worker):
    """Dies in the middle of a shard, with half a file written, as often as lives are left in a file."""

    def record(self, index: int) -> int | None:
        lives = self.writer.path.parent / "lives"
        if index == VICTIM and lives.exists() and int(lives.read_text()):
            lives.write_text(str(int(lives.read_text()) - 1))
            (self.writer.path / f".shard-{index:05d}.h5.half.h5").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
        return super().record(index)


def worker(crew: Any) -> Any:
    """As the package does, with workers that may die."""
    return crew.ray.remote(Mortal).options(**crew.options).remote(crew.folder, crew.job, crew.source, crew.threads)


def digests(folder: Path) -> dict[str, str]:
    return {one.name: file_digest(one) for one in sorted(folder.glob("*shard-*"), key=str)}


def run(model: str, out: Path, engine: str = "ray", **options: Any) -> Any:
    source = load_model(model, device="cpu", dtype="float32", check=False)
    return record(source, tiny_corpus(), sites=SITES, offset=5, budget=130, out=out, engine=engine, **options)


def failure(act: Callable[[], Any]) -> str:
    try:
        act()
    except EmovecError as error:
        return f"{type(error).__name__}: {error}"
    return "nothing failed"


def main(base: Path) -> None:
    room._Crew._worker = worker  # not Worker itself: Ray sends classes of a module by their name
    model = str(tiny_folder(base / "tiny"))
    broken = tiny_folder(base / "broken")
    spoil(broken)
    found: dict[str, Any] = {}
    run(model, base / "local", engine="local")
    found["right"] = digests(base / "local")
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    others = [nodes.add_node(num_cpus=1) for _ in range(2)]
    nodes.wait_for_nodes()
    ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
    try:
        (base / "lives").write_text("1")
        acts = run(model, base / "killed")
        found["killed"] = {"digests": digests(base / "killed"), "lost": acts.provenance["workers_lost"]}
        found["workers"] = acts.provenance["workers"]

        def remove(_done: int, _total: int) -> None:
            if others:
                nodes.remove_node(others.pop(), allow_graceful=False)

        acts = run(model, base / "removed", progress=remove)
        found["removed"] = {"digests": digests(base / "removed"), "lost": acts.provenance["workers_lost"]}
        (base / "lives").write_text("9")
        found["mortal"] = failure(lambda: run(model, base / "mortal"))
        (base / "lives").write_text("0")
        found["left"] = sorted(one.name for one in (base / "mortal").iterdir())
        found["resumed"] = digests(run(model, base / "mortal").path)
        found["spoilt"] = failure(lambda: run(str(broken), base / "spoilt"))
        command = [sys.executable, __file__, str(base), nodes.address, model]
        child = subprocess.run(
            command, capture_output=True, check=False, env=os.environ | {"RAY_ADDRESS": nodes.address}
        )
        found["driver"] = child.returncode
        found["kept"] = digests(base / "driver")
        run(model, base / "driver", engine="local")
        found["driver_resumed"] = digests(base / "driver")
    finally:
        ray.shutdown()
        nodes.shutdown()
    print(json.dumps(found))


def spoil(folder: Path) -> None:
    """Put a value that is not finite into the embedding of a letter that one emotion has."""
    from safetensors.torch import load_file, save_file

    model = load_model(folder, device="cpu", dtype="float32", check=False)
    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"][model.tokens.encode(["z"])[0][0]] = torch.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def die(base: Path, model: str) -> None:
    """A driver that is killed once two shards are written."""
    left = iter(range(2))

    def stop(_done: int, _total: int) -> None:
        if next(left) == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    run(model, base / "driver", progress=stop)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        die(Path(sys.argv[1]), sys.argv[3])
    else:
        main(Path(sys.argv[1]))
