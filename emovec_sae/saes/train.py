"""Train an SAE on recorded tokens with sae-lens's trainer, saved in sae-lens's own format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np

from emovec_sae.errors import ConfigError
from emovec_sae.provenance import collect, digest, write_json
from emovec_sae.saes.architectures import training_config, training_sae
from emovec_sae.saes.coder import SparseCoder
from emovec_sae.saes.folder import new_folder
from emovec_sae.saes.load import FACTS, load_sae
from emovec_sae.saes.sinks import sink_limit, without_sinks

if TYPE_CHECKING:
    import torch

    from emovec_sae.store.site_view import SiteActivations

SAMPLE = 16384
"""Tokens from which the mean, the scale and the sink limit are taken before training."""


@dataclass(frozen=True)
class Settings:
    """What was trained and how, as ``emovec.json`` keeps it.

    The defaults of `batch` and `lr` were chosen on 161k story tokens of SmolLM2-135M (block 18, 2,304 latents, k = 32),
    by explained variance on other topics. 120k tokens: 0.53 with batches of 4,096 at lr 1e-3 and sae-lens's decoder
    norm of 0.1, 0.73 with 2,048 at 3e-3 and unit rows, 0.76 with 1,024. 300k tokens: 0.80 (0.81 with 4,608 latents,
    0.80 at lr 2e-3). Runs of many millions of tokens want a lower lr.
    """

    architecture: str
    d_sae: int
    k: int
    tokens: int
    batch: int
    lr: float
    seed: int
    options: Mapping[str, Any]

    @property
    def steps(self) -> int:
        """Optimiser steps; at least one."""
        return max(1, round(self.tokens / self.batch))


def train_sae(
    acts: SiteActivations,
    *,
    out: str | Path,
    d_sae: int,
    architecture: str = "topk",
    k: int = 32,
    tokens: int | None = None,
    batch: int = 1024,
    lr: float = 3e-3,
    seed: int = 0,
    held_out: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    device: str = "cpu",
) -> SparseCoder:
    """Train an SAE on every recorded token of a site and save it.

    Input is centred and scaled to a mean norm of sqrt(d_in) while it trains; both are folded into the saved weights,
    so that the folder takes raw activations. Sink tokens (`emovec_sae.saes.sinks`) are left out.

    Parameters
    ----------
    acts
        A site with tokens, such as ``acts["resid_post.15"]``; of a view (``acts.where(...)``) only its texts count.
    out
        Folder to write: ``cfg.json`` and ``sae_weights.safetensors`` as sae-lens has them, and ``emovec.json``.
    d_sae, architecture, k
        Number of latents; one of `emovec_sae.saes.architectures.TRAINABLE`; active latents a token, for those
        architectures that fix them.
    tokens
        How many tokens to train on, repeats counted; by default each recorded token twice.
    batch, lr
        Tokens a step, and Adam's learning rate (linear decay to zero over the last third).
    seed
        Of the initial weights and the order of tokens.
    held_out
        Groups that are left out of training.
    options
        Further fields of sae-lens's training configuration, such as ``{"l1_coefficient": 5}``.
    overwrite
        Whether an existing folder is replaced.
    progress
        Called with (tokens done, tokens in all) after each step.
    device
        Where to train.

    Returns
    -------
    SparseCoder
        The saved SAE, loaded anew.

    Raises
    ------
    ConfigError
        If a setting is impossible, a held-out group is unknown, too few tokens are left, or `out` exists.
    StoreError
        If the site was recorded without its tokens.
    """
    if Path(out).exists() and not overwrite:
        raise ConfigError(f"'{out}' exists already; choose another name or say overwrite")
    source = _leave_out(acts, held_out)
    unique = source.count_tokens()
    plan = Settings(
        architecture, d_sae, k, 2 * unique if tokens is None else tokens, batch, lr, seed, dict(options or {})
    )
    _check(plan, unique)
    started = monotonic()
    sample = next(source.shuffled(batch=min(SAMPLE, unique), seed=seed))
    limit = sink_limit(sample)
    sample = without_sinks(sample, limit)
    sae, scale, sinks = _fit(source, plan, sample=sample, limit=limit, progress=progress, device=device)
    training = {
        **asdict(plan),
        "steps": plan.steps,
        "unique_tokens": unique,
        "epochs": plan.steps * batch / unique,
        "scale": scale,
        "sink_limit": limit,
        "sinks_left_out": sinks,
        "seconds": round(monotonic() - started, 1),
    }
    with new_folder(out, overwrite=overwrite) as part:
        sae.save_inference_model(part)
        write_json(part / FACTS, _facts(source, sample, training, held_out))
    return load_sae(out, device=device)


def _leave_out(acts: SiteActivations, held_out: Sequence[str]) -> SiteActivations:
    if not held_out:
        return acts
    groups = acts.activations.frame["group"]
    unknown = sorted(set(held_out) - set(groups.dropna().astype(str)))
    if unknown:
        raise ConfigError(f"no text has the group '{unknown[0]}' that is to be held out")
    return acts.activations.where(~groups.astype(str).isin(list(held_out)).to_numpy())[acts.site]


def _check(plan: Settings, unique: int) -> None:
    if plan.d_sae < 1 or plan.batch < 1 or plan.tokens < 1 or plan.lr <= 0:
        raise ConfigError(
            f"d_sae, batch, tokens and lr must be positive, got {plan.d_sae}, {plan.batch}, {plan.tokens}, {plan.lr}"
        )
    if not 0 < plan.k <= plan.d_sae:
        raise ConfigError(f"k must lie between 1 and d_sae = {plan.d_sae}, got {plan.k}")
    if unique < plan.batch:
        raise ConfigError(
            f"{unique} tokens are recorded, one batch takes {plan.batch}; record more, or lower the batch"
        )


def _fit(
    source: SiteActivations,
    plan: Settings,
    *,
    sample: np.ndarray,
    limit: float,
    progress: Callable[[int, int], None] | None,
    device: str,
) -> tuple[Any, float, int]:
    """Train; returns the SAE with the scale folded in, the scale, and how many sink tokens were left out."""
    import torch
    from sae_lens import SAETrainer
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.saes.sae import SAEMetadata

    d_in = sample.shape[1]
    scale = float(d_in**0.5 / np.linalg.norm(sample - sample.mean(0), axis=1).mean())
    metadata = SAEMetadata(
        model_name=source.activations.model.get("name"),
        hook_name=source.site.hook_name,
        sink_limit=limit,
    )
    config = training_config(
        plan.architecture, d_in=d_in, d_sae=plan.d_sae, k=plan.k, options=plan.options, device=device, metadata=metadata
    )
    stream = _Scaled(source.shuffled(batch=plan.batch, seed=plan.seed), scale=scale, limit=limit)
    # sae-lens draws from torch's global generator: fork it, so that training changes nobody else's numbers.
    with torch.random.fork_rng():
        torch.manual_seed(plan.seed)
        sae = training_sae(plan.architecture, config, mean=torch.from_numpy(sample.mean(0) * scale))
        trainer = SAETrainer(
            cfg=SAETrainerConfig(
                total_training_samples=plan.steps * plan.batch,
                train_batch_size_samples=plan.batch,
                lr=plan.lr,
                lr_end=plan.lr / 10,
                lr_decay_steps=plan.steps // 3,
                # Reviving dead latents is the dearest part of a step and changes their number, not the explained
                # variance (293 steps, window 36: 131 s and 1.3 % dead; 80: 65 s, 2.9 %; never: 37 s, 5.1 %; 0.80 all).
                dead_feature_window=min(1000, max(10, plan.steps // 2)),
                device=device,
                logger=LoggingConfig(log_to_wandb=False),
            ),
            sae=sae,
            data_provider=stream,
        )
        # The loop of SAETrainer.fit through its public seams, with our progress in place of its bar.
        for step in range(plan.steps):
            trainer.maybe_reset_sparsity()
            trainer.step(next(stream))
            trainer.n_training_steps += 1
            if progress is not None:
                progress((step + 1) * plan.batch, plan.steps * plan.batch)
        trainer.set_final_sae_metadata()
    sae.fold_activation_norm_scaling_factor(scale)
    return sae, scale, stream.dropped


class _Scaled:
    """The stream of batches as the trainer takes it: tensors, scaled, without sinks (which it counts)."""

    def __init__(self, batches: Iterator[np.ndarray], *, scale: float, limit: float) -> None:
        self.batches, self.scale, self.limit, self.dropped = batches, scale, limit, 0

    def __iter__(self) -> _Scaled:
        return self

    def __next__(self) -> torch.Tensor:
        import torch

        batch = next(self.batches)
        kept = without_sinks(batch, self.limit)
        self.dropped += len(batch) - len(kept)
        return torch.from_numpy(np.ascontiguousarray(kept, dtype=np.float32)) * self.scale


def _facts(
    source: SiteActivations, sample: np.ndarray, training: Mapping[str, Any], held_out: Sequence[str]
) -> dict[str, Any]:
    """What ``emovec.json`` says: from what, how, and on which texts."""
    return {
        "model": dict(source.activations.model),
        "site": str(source.site),
        "training": dict(training),
        "residual": {
            "mean_norm": float(np.linalg.norm(sample, axis=1).mean()),
            "centred_norm": float(np.linalg.norm(sample - sample.mean(0), axis=1).mean()),
        },
        "texts": _texts(source, held_out),
        "corpus_hash": source.activations.corpus_hash,
        "activations": source.activations.fingerprint,
        "provenance": collect(seed=training["seed"]),
    }


def _texts(source: SiteActivations, held_out: Sequence[str]) -> dict[str, Any]:
    """Which texts it saw: nothing may be claimed about an SAE on the texts that it was trained on."""
    frame = source.activations.frame
    ids = [str(value) for value in frame["id"]]
    groups = sorted({str(value) for value in frame["group"].dropna()}) if "group" in frame else []
    return {"hash": digest(ids), "ids": ids, "groups": groups, "held_out": sorted(map(str, held_out))}
