"""The loop: several SAEs in one pass over the tokens, from a checkpoint if there is one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np

from emovec_sae.saes.architectures import training_config, training_sae
from emovec_sae.saes.refusals import refuse
from emovec_sae.saes.sinks import sink_limit, without_sinks
from emovec_sae.saes.training.checkpoint import Checkpoint, Checkpoints
from emovec_sae.saes.training.settings import Settings
from emovec_sae.saes.training.stream import Scaled, shuffled
from emovec_sae.saes.training.thresholds import start_threshold
from emovec_sae.saes.training.trainer import Point, Trainer

if TYPE_CHECKING:
    from emovec_sae.sites import Site
    from emovec_sae.store.site_view import SiteActivations

log = logging.getLogger(__name__)

SAMPLE = 16384
"""Tokens from which the mean, the scale, the sink limit and thresholds are taken."""

POINTS = 200
"""About how many points a curve has."""


@dataclass(frozen=True)
class Job:
    """One SAE of a run.

    Attributes
    ----------
    name
        How messages and checkpoints call it.
    out
        Folder that it will be.
    plan
        Its settings.
    sources
        The texts to train on, of one store or several.
    """

    name: str
    out: Path
    plan: Settings
    sources: Sequence[SiteActivations]

    @property
    def site(self) -> Site:
        """Where it reads."""
        return self.sources[0].site


@dataclass(frozen=True)
class Ground:
    """What is known of a site before training: a sample without sinks (n, d), their limit, the scale of the input."""

    sample: np.ndarray
    limit: float
    scale: float


@dataclass(frozen=True)
class Trained:
    """An SAE after its last step, its scale not yet folded in.

    Attributes
    ----------
    sae
        The training SAE.
    curve
        Points of its curve.
    ground
        What its input was scaled by.
    dropped
        Sink tokens left out.
    seconds
        Time of the whole run, interruptions not counted.
    """

    sae: Any
    curve: Sequence[Point]
    ground: Ground
    dropped: int
    seconds: float


def survey(sources: Sequence[SiteActivations], seed: int) -> Ground:
    """Take the sample of a site."""
    unique = sum(source.count_tokens() for source in sources)
    sample = next(shuffled(sources, batch=min(SAMPLE, unique), seed=seed))
    limit = sink_limit(sample)
    sample = without_sinks(sample, limit)
    scale = float(sample.shape[1] ** 0.5 / np.linalg.norm(sample - sample.mean(0), axis=1).mean())
    return Ground(sample, limit, scale)


def run(
    jobs: Sequence[Job],
    checkpoints: Checkpoints,
    grounds: Mapping[Site, Ground],
    *,
    every: float,
    replace: bool,
    device: str,
    progress: Callable[[int, int], None] | None,
    watch: Callable[[str, Point], None] | None,
) -> dict[str, Trained]:
    """Train all SAEs side by side; those of a site read one stream.

    Parameters
    ----------
    jobs
        The SAEs; steps, batch and order of tokens are the same for all.
    checkpoints
        Where the state is kept; it stays there until the caller has written the results.
    grounds
        By site, what `survey` found.
    every
        Seconds between checkpoints.
    replace
        Whether the checkpoint of a run with other settings is removed.
    device
        Where to train.
    progress, watch
        Called with (tokens done, in all) after each step; with the name of an SAE and each point of its curve.
    """
    plan = jobs[0].plan
    trainers = {job.name: Trainer(start(job, grounds[job.site], device), job.plan) for job in jobs}
    streams = {job.site: _stream(job, grounds[job.site], device) for job in jobs}
    curves: dict[str, list[Point]] = {job.name: [] for job in jobs}
    first, spent = _resume(checkpoints.load(list(trainers), replace=replace), trainers, streams, curves)
    began = saved = monotonic()
    between = max(1, plan.steps // POINTS)
    for step in range(first, plan.steps):
        batches = {site: next(stream) for site, stream in streams.items()}
        measure = (step + 1) % between == 0 or step + 1 == plan.steps
        for job in jobs:
            point = trainers[job.name].step(batches[job.site], measure=measure)
            if point is not None:
                curves[job.name].append(point)
                if watch is not None:
                    watch(job.name, point)
        if progress is not None:
            progress((step + 1) * plan.batch, plan.steps * plan.batch)
        # The last one lets the results be written after a kill: several folders cannot appear at one moment.
        if monotonic() - saved >= every or step + 1 == plan.steps:
            checkpoints.save(step + 1, spent + monotonic() - began, trainers, curves)
            saved = monotonic()
    seconds = spent + monotonic() - began
    return {
        job.name: Trained(
            trainers[job.name].sae, curves[job.name], grounds[job.site], streams[job.site].dropped, seconds
        )
        for job in jobs
    }


def start(job: Job, ground: Ground, device: str) -> Any:
    """The SAE as it starts, on the device; refused if what it will become could not be loaded."""
    import torch
    from sae_lens.saes.sae import SAEMetadata

    plan = job.plan
    metadata = SAEMetadata(
        model_name=job.sources[0].activations.model.get("name"),
        hook_name=job.site.hook_name,
        sink_limit=ground.limit,
    )
    config = training_config(
        plan.architecture,
        d_in=ground.sample.shape[1],
        d_sae=plan.d_sae,
        k=plan.k,
        options=plan.options,
        device=device,
        metadata=metadata,
    )
    # sae-lens draws from torch's global generator: fork it, so that training changes nobody else's numbers.
    with torch.random.fork_rng():
        torch.manual_seed(plan.seed)
        sae = training_sae(plan.architecture, config, mean=torch.from_numpy(ground.sample.mean(0) * ground.scale))
    if not {"jumprelu_init_threshold", "jumprelu_bandwidth"} & set(plan.options):
        start_threshold(sae, torch.from_numpy(ground.sample).to(device) * ground.scale)
    refuse(sae, job.name)
    return sae


def _stream(job: Job, ground: Ground, device: str) -> Scaled:
    """The batches of a site, from the first."""
    batches = shuffled(job.sources, batch=job.plan.batch, seed=job.plan.order_seed)
    return Scaled(batches, scale=ground.scale, limit=ground.limit, device=device)


def _resume(
    found: Checkpoint | None,
    trainers: Mapping[str, Trainer],
    streams: Mapping[Site, Scaled],
    curves: dict[str, list[Point]],
) -> tuple[int, float]:
    """Take up a checkpoint; returns steps done and seconds spent."""
    if found is None:
        return 0, 0.0
    log.info("going on from step %d of an unfinished run", found.steps)
    for name, trainer in trainers.items():
        found.restore(name, trainer)
        curves[name] = list(found.curves[name])
    for stream in streams.values():
        stream.skip(found.steps)
    return found.steps, found.seconds
