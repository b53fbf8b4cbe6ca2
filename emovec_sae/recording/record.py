"""record: run a corpus through a model once and store its activations at the sites that were asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emovec_sae.corpora.frame import Corpus
from emovec_sae.errors import ConfigError, CorpusError, StoreError, suggest
from emovec_sae.models.model import Model
from emovec_sae.models.seam import forward
from emovec_sae.models.tokens import pad
from emovec_sae.provenance import collect
from emovec_sae.recording.plan import Plan, make_plan
from emovec_sae.recording.pooling import pool_batch
from emovec_sae.sites import Site, parse_sites
from emovec_sae.store.layout import POOLS
from emovec_sae.store.reader import Activations, open_activations
from emovec_sae.store.shard import Shard
from emovec_sae.store.writer import writing

if TYPE_CHECKING:
    from torch import Tensor

Progress = Callable[[int, int], None]
"""Called with (tokens done, tokens in all)."""

STORY_OFFSET = 20
"""First token that ``mean`` uses in stories and neutral texts: the emotion is clear from there on."""


def record(
    model: Model,
    corpus: Corpus,
    *,
    sites: str | Site | Iterable[str | Site] | Mapping[str, Sequence[str]],
    pool: str | Sequence[str] = ("mean",),
    out: str | Path,
    offset: int = STORY_OFFSET,
    budget: int | None = None,
    progress: Progress | None = None,
) -> Activations:
    """Record activations of a corpus into a folder of HDF5 shards.

    The pass stops at the deepest site. Interrupted at any moment, the same call goes on after the last whole shard; on
    a finished folder it does nothing.

    Parameters
    ----------
    model
        From `load_model`.
    corpus
        From `load_corpus`.
    sites
        Such as ``"resid_post.12-24"``; a mapping gives each its own pools:
        ``{"resid_post.12-24": ["mean"], "resid_post.18": ["none"]}``.
    pool
        ``mean`` from token `offset` on, ``last``, ``none`` (every token, for SAEs and exact decomposition); several in
        one pass. Position 0 and special tokens are never used.
    out
        The folder.
    offset
        First token of ``mean``, counted from 0.
    budget
        Padded tokens of a batch; None takes 512 on a CPU and 16,384 on a GPU. Kept in the manifest.
    progress
        Called after each batch.

    Returns
    -------
    Activations
        The finished store.

    Raises
    ------
    ConfigError, CorpusError, ModelError, StoreError
        A pool or site that does not exist; a text with no token to pool or longer than the context; a value that is
        not finite; a folder that holds another recording or cannot be written.
    """
    wanted = _pools_by_site(sites, pool, model.n_layers)
    for site in wanted:
        model.blocks.path(site)
    ids = model.tokens.encode(corpus.frame["text"].tolist())
    masks = [model.tokens.counted(one) for one in ids]
    _check_lengths(corpus, model, ids, masks, offset)
    size = budget or (512 if model.device.type == "cpu" else 16384)
    plan = make_plan([len(one) for one in ids], budget=size)
    settings = {
        "model": model.describe(),
        "corpus": {"name": corpus.name, "hash": corpus.fingerprint, "n_texts": len(corpus)},
        "sites": {str(site): list(pools) for site, pools in wanted.items()},
        "pools": [one for one in POOLS if any(one in pools for pools in wanted.values())],
        "offset": offset,
        "format": "plain",
        "budget": size,
        "plan": plan.fingerprint,
    }
    frame = corpus.frame.assign(n_tokens=[len(one) for one in ids])
    folder = Path(out)
    with writing(folder, settings, frame) as writer:
        if not writer.complete:
            total, done = sum(map(len, ids)), 0
            for index in range(len(plan.shards)):
                if not writer.has(index):
                    writer.write(index, _shard(model, corpus, ids, masks, plan, index, wanted, offset))
                done += sum(len(ids[row]) for row in plan.rows(index))
                if progress is not None:
                    progress(done, total)
            writer.finish(len(plan.shards), collect(device=str(model.device)))
    return open_activations(folder)


def _shard(
    model: Model,
    corpus: Corpus,
    ids: list[list[int]],
    masks: list[np.ndarray],
    plan: Plan,
    index: int,
    wanted: dict[Site, tuple[str, ...]],
    offset: int,
) -> Shard:
    """Record one shard."""
    import torch

    parts: dict[Site, dict[str, list[np.ndarray]]] = {
        site: {one: [] for one in pools} for site, pools in wanted.items()
    }
    norms: dict[Site, tuple[float, int]] = dict.fromkeys(wanted, (0.0, 0))
    for rows in plan.shards[index]:
        batch = pad([ids[row] for row in rows], pad_id=model.tokens.pad_id, device=model.device)
        counted = torch.zeros_like(batch.mask)
        for place, row in enumerate(rows):
            counted[place, : len(ids[row])] = torch.from_numpy(masks[row]).to(counted.device)
        averaged = counted.clone()
        averaged[:, :offset] = False
        values = forward(model, batch, read=wanted).values
        for site, pools in wanted.items():
            exact = values[site].float()
            lengths = exact.norm(dim=-1)  # one pass serves the mean norm and the search for what is not finite
            _check_finite(lengths, counted, corpus, rows, site)
            for name, array in pool_batch(exact, counted, averaged, pools).items():
                parts[site][name].append(array)
            norms[site] = (norms[site][0] + float(lengths[averaged].sum()), norms[site][1] + int(averaged.sum()))
    order = plan.rows(index)
    positions = [np.flatnonzero(masks[row]) for row in order]
    position = np.concatenate(positions).astype(np.int32)
    return Shard(
        rows=np.array(order, np.int64),
        n_tokens=np.array([len(ids[row]) for row in order], np.int32),
        start=np.concatenate([[0], np.cumsum([len(one) for one in positions])]).astype(np.int64),
        token_id=np.concatenate(
            [np.asarray(ids[row])[kept] for row, kept in zip(order, positions, strict=True)]
        ).astype(np.int32),
        position=position,
        pooled=position >= offset,
        values={
            str(site): {name: np.concatenate(arrays) for name, arrays in pools.items()} for site, pools in parts.items()
        },
        norms={str(site): norm for site, norm in norms.items()},
    )


def _pools_by_site(sites: Any, pool: str | Sequence[str], n_layers: int) -> dict[Site, tuple[str, ...]]:
    asked = sites if isinstance(sites, Mapping) else dict.fromkeys(parse_sites(sites, n_layers), pool)
    if not asked:
        raise ConfigError("no site was given; write for example resid_post.12-24")
    found: dict[Site, set[str]] = {}
    for text, pools in asked.items():
        names = [pools] if isinstance(pools, str) else list(pools)
        if not names:
            raise ConfigError(f"no pool was given for {text}; pools are {', '.join(POOLS)}")
        for name in names:
            if name not in POOLS:
                raise ConfigError(f"unknown pool '{name}'{suggest(name, POOLS)}; pools are {', '.join(POOLS)}")
        for site in parse_sites(text, n_layers):
            found.setdefault(site, set()).update(names)
    return {site: tuple(one for one in POOLS if one in found[site]) for site in sorted(found)}


def _check_lengths(corpus: Corpus, model: Model, ids: list[list[int]], masks: list[np.ndarray], offset: int) -> None:
    if offset < 0:
        raise ConfigError(f"offset is {offset}; it counts tokens from 0")
    for name, tokens, mask in zip(corpus.frame["id"], ids, masks, strict=True):
        if not mask[offset:].any():
            raise CorpusError(
                f"text '{name}' of {corpus.name} has no token left to pool: {len(tokens)} tokens, of which the first "
                f"{max(offset, 1)} and special ones are not used; leave it out or lower the offset"
            )
        if len(tokens) > model.context:
            raise CorpusError(
                f"text '{name}' of {corpus.name} has {len(tokens)} tokens; {model.name} reads at most {model.context}: "
                "split it"
            )


def _check_finite(lengths: Tensor, counted: Tensor, corpus: Corpus, rows: tuple[int, ...], site: Site) -> None:
    bad = ~lengths.isfinite() & counted
    if bool(bad.any()):
        place, token = (int(one) for one in bad.nonzero()[0])
        name = corpus.frame["id"].iloc[rows[place]]
        raise StoreError(
            f"activation that is not finite: text '{name}', site {site}, token {token}; "
            "use another dtype (float32), or leave the text out"
        )
