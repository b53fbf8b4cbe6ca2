"""SAE training from shards beside sae-lens's own trainer on the same tokens in memory: speed, and quality at equal l0.

    .venv/bin/python benchmarks/sae_training.py [--store DIR --site resid_post.18] [--tokens 200000] [--steps 12]

Without --store the tokens are made: sparse codes of a random dictionary, d_model 576, written to a store first. Speed:
rounds alternate in one process, ours with reading and shuffling from the shards, sae-lens's SAETrainer (its loop's
public steps, nothing logged) on the very tensors. Quality: both train on --tokens tokens with the same settings and
seeds, sae-lens from memory in an order of its own; explained variance and l0 on held-out tokens, the mean over seeds
and the largest distance between two seeds, by which "equal within noise" is judged. Prints one JSON object; quote the
ratios.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sae_lens import SAE, SAETrainer
from sae_lens.config import LoggingConfig, SAETrainerConfig

from emovec_sae.saes.coder import SparseCoder
from emovec_sae.saes.train import train_saes
from emovec_sae.saes.training.run import Ground, Job, start, survey
from emovec_sae.saes.training.settings import settings
from emovec_sae.saes.training.stream import Scaled, leave_out, shuffled
from emovec_sae.saes.training.thresholds import set_threshold
from emovec_sae.saes.training.trainer import Trainer
from emovec_sae.store.reader import Activations, open_activations
from emovec_sae.store.shard import Shard
from emovec_sae.store.site_view import SiteActivations
from emovec_sae.store.writer import writing

D, ATOMS, LENGTH, PER_SHARD, SITE = 576, 3000, 120, 128, "resid_post.18"


@dataclass(frozen=True)
class Setup:
    """What both sides are given."""

    sources: list[SiteActivations]
    ground: Ground
    unseen: np.ndarray
    d_sae: int
    k: int
    batch: int


def made_store(folder: Path, tokens: int) -> Activations:
    """Sparse codes (40 of 3,000 atoms, rare ones rarer) with noise, as a store of eight groups."""
    random = np.random.default_rng(0)
    rows = random.standard_normal((ATOMS, D)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    shards = max(8, -(-tokens // (PER_SHARD * LENGTH)))
    texts = shards * PER_SHARD
    frame = pd.DataFrame({"id": [f"t{row}" for row in range(texts)], "text": "x", "emotion": "e"})
    frame["group"] = [f"g{row % 8}" for row in range(texts)]
    settings_ = {
        "model": {"name": "none", "fingerprint": "none", "dtype": "bfloat16", "d_model": D, "n_layers": 30},
        "corpus": {"name": "benchmark", "hash": "h", "n_texts": texts},
        "sites": {SITE: ["mean", "none"]},
        "pools": ["mean", "none"],
        "offset": 20,
    }
    with writing(folder, settings_, frame.assign(split=None, lang="en", n_tokens=LENGTH + 1)) as writer:
        for index in range(shards):
            writer.write(index, _shard(index * PER_SHARD, rows, random))
        writer.finish(shards, {})
    return open_activations(folder)


def _shard(first: int, rows: np.ndarray, random: np.random.Generator) -> Shard:
    count = PER_SHARD * LENGTH
    values = 2 + random.standard_normal((count, D), dtype=np.float32) * 0.25
    for _ in range(40):
        atom = (ATOMS * random.random(count) ** 2).astype(np.int64)
        values += rows[atom] * random.exponential(2.0, (count, 1)).astype(np.float32)
    values = (values.view(np.uint32) & 0xFFFF0000).view(np.float32)
    position = np.tile(np.arange(1, LENGTH + 1, dtype=np.int32), PER_SHARD)
    return Shard(
        rows=np.arange(first, first + PER_SHARD),
        n_tokens=np.full(PER_SHARD, LENGTH + 1, np.int32),
        start=np.arange(0, count + 1, LENGTH),
        token_id=np.zeros(count, np.int32),
        position=position,
        pooled=position >= 20,
        values={SITE: {"mean": values.reshape(PER_SHARD, LENGTH, D).mean(axis=1), "none": values}},
        norms={SITE: (1.0, 1)},
    )


def their_trainer(setup: Setup, job: Job) -> SAETrainer[Any, Any]:
    """sae-lens's trainer with the settings of ours."""
    plan = job.plan
    config = SAETrainerConfig(
        total_training_samples=plan.steps * plan.batch,
        train_batch_size_samples=plan.batch,
        lr=plan.lr,
        lr_end=plan.lr / 10,
        lr_warm_up_steps=round(plan.warm_up * plan.steps),
        lr_decay_steps=round(plan.decay * plan.steps),
        dead_feature_window=plan.dead_after,
        logger=LoggingConfig(log_to_wandb=False),
    )
    return SAETrainer(cfg=config, sae=start(job, setup.ground, "cpu"), data_provider=iter(()))


def job_of(setup: Setup, architecture: str, seed: int, tokens: int, precision: str = "float32") -> Job:
    """A run's settings."""
    unique = sum(source.count_tokens() for source in setup.sources)
    given: Any = {"architecture": architecture, "k": setup.k, "tokens": tokens, "batch": setup.batch}
    plan = settings(setup.d_sae, seed, {**given, "precision": precision}, unique=unique)
    return Job(f"{architecture}-{seed}", Path("unused"), plan, setup.sources)


def stream(setup: Setup) -> Scaled:
    """Our stream from the shards."""
    batches = shuffled(setup.sources, batch=setup.batch, seed=0)
    return Scaled(batches, scale=setup.ground.scale, limit=setup.ground.limit, device="cpu")


def speed(setup: Setup, architecture: str, *, steps: int, precisions: list[str]) -> dict[str, Any]:
    """Tokens per second of both, a step each in turn, the first two left out."""
    tokens = 1000 * setup.batch
    theirs = their_trainer(setup, job_of(setup, architecture, 0, tokens))
    ours = {one: _ours(setup, architecture, tokens, one) for one in precisions}
    streams = {one: stream(setup) for one in precisions}
    memory = [next(stream(setup)) for _ in range(4)]
    seconds: dict[str, list[float]] = {}
    for step in range(steps + 2):
        began = time.perf_counter()
        theirs.maybe_reset_sparsity()
        theirs.step(memory[step % len(memory)])
        theirs.n_training_steps += 1
        seconds.setdefault("sae-lens", []).append(time.perf_counter() - began)
        for one in precisions:
            began = time.perf_counter()
            ours[one].step(next(streams[one]))
            seconds.setdefault(one, []).append(time.perf_counter() - began)
    timed = {name: found[2:] for name, found in seconds.items()}
    return {
        "tokens_per_second": {name: round(setup.batch * steps / sum(found)) for name, found in timed.items()},
        "ratio": {one: round(sum(timed["sae-lens"]) / sum(timed[one]), 2) for one in precisions},
        "ratio_of_medians": {
            one: round(statistics.median(timed["sae-lens"]) / statistics.median(timed[one]), 2) for one in precisions
        },
    }


def _ours(setup: Setup, architecture: str, tokens: int, precision: str) -> Trainer:
    job = job_of(setup, architecture, 0, tokens, precision)
    return Trainer(start(job, setup.ground, "cpu"), job.plan)


def quality(setup: Setup, architecture: str, *, tokens: int, seeds: int, folder: Path) -> dict[str, Any]:
    """Explained variance and l0 on held-out tokens after the same number of steps, by seed."""
    memory = torch.cat([next(batches) for batches in [stream(setup)] for _ in range(_batches(setup))])
    rows: dict[str, list[tuple[float, float]]] = {"ours": [], "sae-lens": []}
    given: Any = {"architecture": architecture, "k": setup.k, "tokens": tokens, "batch": setup.batch}
    ours = train_saes(
        [source.activations for source in setup.sources], sites=[setup.sources[0].site], seeds=range(seeds),
        out=folder / architecture, d_sae=setup.d_sae, **given,
    )  # fmt: skip
    rows["ours"] = [measured(coder, setup.unseen) for coder in ours.values()]
    left: list[float] = []
    for seed in range(seeds):
        job = job_of(setup, architecture, seed, tokens)
        trainer = their_trainer(setup, job)
        batches = _in_memory(memory, setup.batch, seed)
        for _ in range(job.plan.steps):
            trainer.step(next(batches))
            trainer.n_training_steps += 1
        # sae-lens's running threshold is far off after so few steps (first number); equal l0 needs it set as ours is.
        left.append(_l0(trainer.sae, setup))
        set_threshold(trainer.sae, torch.from_numpy(setup.ground.sample) * setup.ground.scale)
        trainer.sae.fold_activation_norm_scaling_factor(setup.ground.scale)
        out = folder / f"sae-lens-{architecture}-{seed}"
        trainer.sae.save_inference_model(out)
        rows["sae-lens"].append(measured(SparseCoder(SAE.load_from_disk(out)), setup.unseen))
    found = {side: np.array(values) for side, values in rows.items()}
    return {
        "explained_variance": {side: round(float(values[:, 0].mean()), 4) for side, values in found.items()},
        "range_over_seeds": {side: round(float(np.ptp(values[:, 0])), 4) for side, values in found.items()},
        "l0": {side: round(float(values[:, 1].mean()), 2) for side, values in found.items()},
        "l0_as_sae_lens_leaves_it": round(statistics.mean(left), 2),
    }


def _l0(sae: Any, setup: Setup) -> float:
    """Active latents of sae-lens's own inference model, on the sample."""
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        sae.save_inference_model(folder)
        x = torch.from_numpy(setup.ground.sample[:2048]) * setup.ground.scale
        return float((SAE.load_from_disk(folder).encode(x) != 0).sum(1).float().mean())


def _batches(setup: Setup) -> int:
    return sum(source.count_tokens() for source in setup.sources) // setup.batch


def _in_memory(values: torch.Tensor, batch: int, seed: int) -> Iterator[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        for rows in torch.randperm(len(values), generator=generator).split(batch):
            if len(rows) == batch:
                yield values[rows]


def measured(coder: SparseCoder, values: np.ndarray) -> tuple[float, float]:
    """Explained variance and l0."""
    error, active = 0.0, 0.0
    for first in range(0, len(values), coder.rows_at_once()):
        latents, left = coder.split(values[first : first + coder.rows_at_once()])
        error += float(left.double().square().sum())
        active += float((latents != 0).sum())
    spread = float(np.square(values - values.mean(0, dtype=np.float64)).sum())
    return 1 - error / spread, active / len(values)


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--site", default=SITE)
    parser.add_argument("--tokens", type=int, default=200_000)
    parser.add_argument("--d-sae", type=int, default=4608)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--batch", type=int, nargs="+", default=[1024, 2048, 4096])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--architectures", nargs="+", default=["topk", "batchtopk", "jumprelu"])
    options = parser.parse_args()
    found: dict[str, Any] = {"threads": torch.get_num_threads(), "d_sae": options.d_sae, "k": options.k}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        acts = open_activations(options.store) if options.store else made_store(folder / "store", options.tokens)
        groups = sorted(acts.frame["group"].astype(str).unique())[:1]
        sources = leave_out([acts[options.site]], groups)
        unseen = leave_out([acts[options.site]], groups, inside=True)
        ground = survey(sources, 0)
        values = next(shuffled(unseen, batch=min(16_384, unseen[0].count_tokens()), seed=0))
        values = values[np.linalg.norm(values, axis=1) <= ground.limit]
        for batch in options.batch:
            setup = Setup(sources, ground, values, options.d_sae, options.k, batch)
            for name in options.architectures if batch == options.batch[0] else options.architectures[:1]:
                precisions = ["float32"] if name not in {"topk", "batchtopk"} else ["float32", "bfloat16"]
                found[f"speed {name} batch {batch}"] = speed(setup, name, steps=options.steps, precisions=precisions)
        setup = Setup(sources, ground, values, options.d_sae, options.k, options.batch[0])
        for name in options.architectures[:2] if options.seeds else []:
            found[f"quality {name}"] = quality(setup, name, tokens=options.tokens, seeds=options.seeds, folder=folder)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
