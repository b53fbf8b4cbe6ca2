"""Record on a Ray cluster: workers hold a model each and write shards of their own into a shared folder."""

from __future__ import annotations

import logging
import os
from collections import Counter, deque
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from emovec_sae.errors import ConfigError, EmovecError, ModelError, StoreError
from emovec_sae.models.model import Model
from emovec_sae.models.source import Source
from emovec_sae.recording.batches import Runner
from emovec_sae.recording.job import Job
from emovec_sae.recording.local import Progress
from emovec_sae.recording.shards import record_shard
from emovec_sae.store.layout import shard_name
from emovec_sae.store.writer import StoreWriter

TRIES = 3
"""Workers that may die on a shard before it is given up."""


class Worker:
    """What runs on a node: a model, and the shards that it is told to record."""

    def __init__(self, folder: str, job: Job, source: Source, threads: int) -> None:
        self.writer = StoreWriter(Path(folder), job.settings)
        self.job = job
        self.source = source
        self.threads = threads

    @cached_property
    def runner(self) -> Runner:
        """The model at work; loaded with the first shard, so that its errors are told as that one's.

        Raises
        ------
        ModelError
            If it is not the model that the job was planned with.
        """
        import torch

        torch.set_num_threads(self.threads)  # how a sum is divided among threads may change its last bits
        model = self.source.load()
        if model.describe() != self.job.settings["model"]:
            raise ModelError(
                f"a worker found another model under '{self.source.name}' than the one here; use the same files"
            )
        return Runner(model, self.job.texts, self.job.sites)

    def ready(self) -> None:
        """Answer once the process runs."""

    def record(self, index: int) -> int | None:
        """Record a shard and write it; gives the padded tokens to which batches were cut if memory ran out."""
        self.writer.write(index, record_shard(self.runner, self.job, index))
        return self.runner.limit


def record_on_ray(
    model: Model, job: Job, writer: StoreWriter, progress: Progress | None, workers: int | None
) -> dict[str, Any]:
    """Record every shard that is not there yet on the workers of a Ray cluster.

    The plan is the job's, so the shards are those of one process with the same kind of processor, the same number of
    threads and the same budget, byte for byte. The shard of a worker that dies is done again by another.

    Returns
    -------
    dict
        Facts for the provenance.

    Raises
    ------
    ConfigError, ModelError, StoreError
        If Ray is not installed or has no room for a worker, another process cannot load the model, or a shard failed.
    """
    source = loadable(model)
    missing = [index for index in range(len(job.plan.shards)) if not writer.has(index, job.plan.rows(index))]
    total = len(job.texts.ids)
    done = total - sum(map(job.tokens, missing))
    with _cluster() as ray:
        crew = _Crew(ray, source, job, writer.path.resolve(), count=workers, most=len(missing))
        try:
            for index in crew.record(missing):
                done += job.tokens(index)
                if progress is not None:
                    progress(done, total)
        finally:
            crew.dismiss()
            writer.sweep()
    facts: dict[str, Any] = {"device": source.device, "workers": crew.count, "workers_lost": crew.lost}
    return facts if not crew.limits else {**facts, "batches_cut_to": min(crew.limits)}


def loadable(model: Model) -> Source:
    """How workers load a model.

    Raises
    ------
    ConfigError
        If they cannot, or Ray is not installed.
    """
    if find_spec("ray") is None:
        raise ConfigError("engine 'ray' needs Ray; run: pip install 'emovec_sae[ray]'")
    if model.source is None:
        raise ConfigError(f"'{model.name}' was made in memory: workers cannot load it; save it to a folder first")
    return model.source


class _Crew:
    """Workers, what each is doing, and what is left to do."""

    def __init__(self, ray: Any, source: Source, job: Job, folder: Path, *, count: int | None, most: int) -> None:
        import torch

        self.ray = ray
        gpu = source.device.startswith("cuda")
        self.source = replace(source, device="cuda") if gpu else source  # Ray shows a worker its own GPU only
        self.folder = str(folder)
        self.threads = torch.get_num_threads()
        self.job = ray.put(job)
        resources = ray.cluster_resources()
        room = int(resources.get("GPU" if gpu else "CPU", 0))
        if room < 1:
            raise ConfigError(f"the Ray cluster has no {'GPU' if gpu else 'CPU'} for a worker")
        self.options = {"num_gpus": 1} if gpu else {"num_cpus": 1}
        self.count = max(1, min(count or room, room, most))
        self.lost = 0
        self.limits: set[int] = set()
        self.tries: Counter[int] = Counter()
        self.idle: list[Any] = []
        self.busy: dict[Any, tuple[Any, int]] = {}
        self.starting: dict[Any, Any] = {}

    def record(self, missing: list[int]) -> Generator[int]:
        """Give the number of each shard as it is written."""
        left = deque(missing)
        for _ in range(self.count if missing else 0):
            self._hire()
        while left or self.busy:
            while left and self.idle:
                worker, index = self.idle.pop(), left.popleft()
                self.busy[worker.record.remote(index)] = (worker, index)
            # a worker for which there is no room, since a node is gone, is waited for but never relied on
            ready, _ = self.ray.wait([*self.busy, *self.starting], num_returns=1)
            if ready[0] in self.starting:
                self._started(ready[0])
                continue
            worker, index = self.busy.pop(ready[0])
            if self._finished(ready[0], index):
                self.idle.append(worker)
                yield index
            else:
                left.appendleft(index)
                self._hire()

    def dismiss(self) -> None:
        """Stop every worker."""
        for worker in [*self.idle, *self.starting.values(), *(worker for worker, _ in self.busy.values())]:
            self.ray.kill(worker)

    def _hire(self) -> None:
        worker = self._worker()
        self.starting[worker.ready.remote()] = worker

    def _worker(self) -> Any:
        return self.ray.remote(Worker).options(**self.options).remote(self.folder, self.job, self.source, self.threads)

    def _started(self, future: Any) -> None:
        from ray.exceptions import RayActorError

        worker = self.starting.pop(future)
        try:
            self.ray.get(future)
        except RayActorError as error:
            self._mourn(-1, error)
            self._hire()
        else:
            self.idle.append(worker)

    def _finished(self, future: Any, index: int) -> bool:
        """Whether a shard was written; False if its worker died."""
        from ray.exceptions import RayActorError, RayTaskError

        try:
            limit = self.ray.get(future)
        except RayTaskError as error:
            raise _typed(error, index) from error
        except RayActorError as error:
            self._mourn(index, error)
            return False
        if limit is not None:
            self.limits.add(limit)
        return True

    def _mourn(self, index: int, error: Exception) -> None:
        """Count a worker that died on a shard, or (-1) while it started."""
        self.lost += 1
        self.tries[index] += 1
        if self.tries[index] == TRIES:
            what = "started" if index < 0 else f"recorded {shard_name(index)}"
            raise StoreError(
                f"{TRIES} workers died while they {what}; see Ray's logs (memory?), record again to go on"
            ) from error


def _typed(error: Any, index: int) -> EmovecError:
    """The worker's own error."""
    cause = error.cause
    if isinstance(cause, EmovecError):
        return type(cause)(str(cause))
    return StoreError(f"a worker failed on {shard_name(index)}: {type(cause).__name__}: {cause}")


@contextmanager
def _cluster() -> Generator[Any]:
    """Ray, connected: to what runs already, to the address in RAY_ADDRESS, or to a cluster of this machine alone."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    started = not ray.is_initialized()
    if started:
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ConfigError(f"cannot reach the Ray cluster: {error}; check RAY_ADDRESS") from error
    try:
        yield ray
    finally:
        if started:
            ray.shutdown()
