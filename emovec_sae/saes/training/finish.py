"""From the last step to a folder: threshold, scale, files, and what the SAE does on tokens that it is measured on."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from emovec_sae.errors import ConfigError
from emovec_sae.provenance import plain, read_json, write_json
from emovec_sae.saes.architectures import asked_l0
from emovec_sae.saes.coder import SparseCoder
from emovec_sae.saes.folder import new_folder
from emovec_sae.saes.load import FACTS, load_sae
from emovec_sae.saes.training.facts import facts, identity_of
from emovec_sae.saes.training.run import Job, Trained
from emovec_sae.saes.training.settings import differences
from emovec_sae.saes.training.sparsity import measure
from emovec_sae.saes.training.thresholds import set_threshold

if TYPE_CHECKING:
    from emovec_sae.store.site_view import SiteActivations

CURVE = "training.csv"
"""The curve of a run beside the weights, one row a point (see `emovec_sae.saes.training.trainer.Point`)."""


def is_finished(folder: Path, asked: dict[str, Any]) -> bool:
    """Whether a folder holds the SAE that a run with this identity ends in.

    Raises
    ------
    ConfigError
        If the folder holds anything else.
    """
    if not folder.exists():
        return False
    if not (folder / FACTS).is_file():
        raise ConfigError(f"'{folder}' exists already; choose another name or say overwrite")
    said = differences(identity_of(read_json(folder / FACTS)), plain(asked))
    if said:
        raise ConfigError(
            f"'{folder}' exists already, trained with other settings ({said}); choose another name or say overwrite"
        )
    return True


def finish(
    job: Job, trained: Trained, *, held_out: Sequence[str], unseen: Sequence[SiteActivations], scratch: Path
) -> SparseCoder:
    """Write the folder of an SAE, in place of one that may be there, and load it anew.

    Parameters
    ----------
    job, trained
        The SAE, and what training made of it.
    held_out
        Groups that were left out of training.
    unseen
        Activations of these groups; where there are none, training tokens are measured.
    scratch
        Folder on the same disk, removed in the end whatever happened before: what a kill leaves is left in there.
    """
    import torch

    sae, ground, plan = trained.sae, trained.ground, job.plan
    scaled = torch.from_numpy(ground.sample).to(sae.W_enc.device) * ground.scale
    calibrated = set_threshold(sae, scaled)
    sae.fold_activation_norm_scaling_factor(ground.scale)
    sae.W_enc.data = sae.W_enc.data.contiguous()
    unique = sum(source.count_tokens() for source in job.sources)
    training = {
        "steps": plan.steps,
        "unique_tokens": unique,
        "epochs": plan.steps * plan.batch / unique,
        "scale": ground.scale,
        "sink_limit": ground.limit,
        "sinks_left_out": trained.dropped,
        "seconds": round(trained.seconds, 1),
        "threshold": f"set on {len(scaled)} training tokens so that l0 is k" if calibrated else "as trained",
    }
    told = facts(plan, job.sources, held_out, sample=ground.sample, training=training)
    made = scratch / job.name
    with new_folder(made, overwrite=True) as part:
        sae.save_inference_model(part)
        pd.DataFrame([asdict(point) for point in trained.curve]).to_csv(part / CURVE, index=False)
        write_json(part / FACTS, told)
        told["l0"] = measure(
            load_sae(part),
            unseen or job.sources,
            asked=asked_l0(sae.cfg),
            on="held-out" if unseen else "training",
            name=job.out.name,
            seed=plan.order_seed + 1,
        )
        write_json(part / FACTS, told)
        _tell_sae_lens(part, told["l0"])
    _put(made, job.out, scratch / f"{job.name}.replaced")
    return load_sae(job.out, device=str(sae.W_enc.device))


def _put(made: Path, out: Path, aside: Path) -> None:
    """Move a complete folder to where it belongs, the one that it replaces aside."""
    out.parent.mkdir(parents=True, exist_ok=True)
    if aside.exists():
        shutil.rmtree(aside)
    if out.exists():
        out.rename(aside)
    made.rename(out)


def _tell_sae_lens(folder: Path, found: dict[str, Any]) -> None:
    """Put the measured l0 where sae-lens keeps its own."""
    config = read_json(folder / "cfg.json")
    config["metadata"]["l0"] = found["measured"]
    write_json(folder / "cfg.json", config)
