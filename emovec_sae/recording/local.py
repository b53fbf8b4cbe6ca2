"""Record in this process: the next shard is computed while the last one is packed and written."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from emovec_sae.models.model import Model
from emovec_sae.recording.batches import Runner
from emovec_sae.recording.job import Job
from emovec_sae.recording.shards import record_shard
from emovec_sae.store.writer import StoreWriter

Progress = Callable[[int, int], None]
"""Called with (tokens done, tokens in all)."""


def record_here(model: Model, job: Job, writer: StoreWriter, progress: Progress | None) -> dict[str, Any]:
    """Record every shard that is not there yet.

    Returns
    -------
    dict
        Facts for the provenance: where the model was, and to what batches were cut if memory ran out.
    """
    runner = Runner(model, job.texts, job.sites)
    total = len(job.texts.ids)
    done = 0
    # leaving the block waits for the shard that is being written: interrupted, it is kept
    with ThreadPoolExecutor(1, thread_name_prefix="shards") as background:
        written: Future[Path] | None = None
        for index in range(len(job.plan.shards)):
            if not writer.has(index, job.plan.rows(index)):
                shard = record_shard(runner, job, index)
                if written is not None:
                    written.result()
                written = background.submit(writer.write, index, shard)
                del shard
            done += job.tokens(index)
            if progress is not None:
                progress(done, total)
        if written is not None:
            written.result()
    placed = model.placement()
    facts: dict[str, Any] = {"device": str(model.device), **({"device_map": placed} if len(placed) > 1 else {})}
    return facts if runner.limit is None else {**facts, "batches_cut_to": runner.limit}
