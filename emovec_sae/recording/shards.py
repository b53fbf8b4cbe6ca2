"""Record one shard of a job; what it holds depends on the job and the model alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from emovec_sae.errors import StoreError
from emovec_sae.recording.batches import Runner
from emovec_sae.recording.job import Job
from emovec_sae.recording.pooling import Tokens, pool_batch
from emovec_sae.recording.texts import Texts
from emovec_sae.sites import Site
from emovec_sae.store.shard import Shard

if TYPE_CHECKING:
    from torch import Tensor

_Lengths = list[tuple[Sequence[int], "Tensor", "Tensor"]]


def record_shard(runner: Runner, job: Job, index: int) -> Shard:
    """Run the batches of a shard and pool them.

    Raises
    ------
    StoreError
        If an activation is not finite; names text, site and token.
    ModelError
        If the device has no memory for a single text.
    """
    parts: dict[Site, dict[str, list[Tensor]]] = {
        site: {pool: [] for pool in pools} for site, pools in job.sites.items()
    }
    lengths: dict[Site, _Lengths] = {site: [] for site in job.sites}
    for rows in job.plan.shards[index]:
        for some, batch, values in runner.run(rows):
            masks = _masks(job.texts, some, batch.mask)
            for site, pools in job.sites.items():
                exact = values[site].float()
                here = Tokens(*(mask.to(exact.device) for mask in masks))
                # one pass serves the mean norm and the search for what is not finite
                lengths[site].append((some, exact.norm(dim=-1).masked_fill(~here.kept, 0.0), here.averaged))
                for pool, found in pool_batch(exact, here, pools).items():
                    parts[site][pool].append(found)
    norms = {str(site): _norm(job, site, found) for site, found in lengths.items()}
    return _assembled(job, index, parts, norms)


def _masks(texts: Texts, rows: Sequence[int], like: Tensor) -> Tokens:
    import torch

    found = np.zeros((3, *like.shape), dtype=bool)
    for place, row in enumerate(rows):
        where = texts.where(row)
        length = where.stop - where.start
        for mask, source in zip(found, (texts.kept, texts.averaged, texts.spanned), strict=True):
            mask[place, :length] = source[where]
    return Tokens(*(torch.from_numpy(mask).to(like.device) for mask in found))


def _norm(job: Job, site: Site, found: _Lengths) -> tuple[float, int]:
    """Sum of the norms over the averaged tokens, and their number; looked at once a shard, to wait for a GPU once."""
    total, count = 0.0, 0
    for rows, lengths, averaged in found:
        bad = ~lengths.isfinite()
        if bool(bad.any()):
            place, token = (int(one) for one in bad.nonzero()[0])
            name = job.texts.frame["id"].iloc[rows[place]]
            raise StoreError(
                f"activation that is not finite: text '{name}', site {site}, token {token}; "
                "use another dtype (float32), or leave the text out"
            )
        total += float(lengths[averaged].double().sum())
        count += int(averaged.sum())
    return total, count


def _assembled(
    job: Job, index: int, parts: dict[Site, dict[str, list[Tensor]]], norms: dict[str, tuple[float, int]]
) -> Shard:
    import torch

    texts, order = job.texts, job.plan.rows(index)
    wheres = [texts.where(row) for row in order]
    positions = [np.flatnonzero(texts.kept[where]) for where in wheres]
    flat = [place + where.start for place, where in zip(positions, wheres, strict=True)]
    every = np.concatenate(flat)
    return Shard(
        rows=np.array(order, np.int64),
        n_tokens=texts.lengths[order].astype(np.int32),
        start=np.concatenate([[0], np.cumsum([len(one) for one in positions])]).astype(np.int64),
        token_id=texts.ids[every],
        position=np.concatenate(positions).astype(np.int32),
        pooled=texts.averaged[every],
        values={
            str(site): {pool: torch.cat(found).float().cpu().numpy() for pool, found in pools.items()}
            for site, pools in parts.items()
        },
        norms=norms,
    )
