"""record: run a corpus through a model once and store its activations at the sites that were asked for."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from emovec_sae.corpora.frame import Corpus
from emovec_sae.errors import ConfigError
from emovec_sae.models.model import Model
from emovec_sae.provenance import collect
from emovec_sae.recording.budget import find_budget
from emovec_sae.recording.cluster import loadable, record_on_ray
from emovec_sae.recording.job import Sites, all_pools, make_job, pools_by_site
from emovec_sae.recording.local import Progress, record_here
from emovec_sae.recording.reading import Reading
from emovec_sae.recording.texts import prepare
from emovec_sae.store.layout import MANIFEST, UNFINISHED
from emovec_sae.store.manifest import read_manifest
from emovec_sae.store.reader import Activations, open_activations
from emovec_sae.store.writer import writing

log = logging.getLogger(__name__)


def record(
    model: Model,
    corpus: Corpus,
    *,
    sites: Sites,
    pool: str | Sequence[str] = ("mean",),
    out: str | Path,
    offset: int | None = None,
    format: str = "plain",
    role: str = "user",
    read: str = "text",
    long: str = "error",
    budget: int | None = None,
    engine: str = "local",
    workers: int | None = None,
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
        ``mean`` and ``max`` from token `offset` on, ``last``, ``span`` (mean over the characters that the corpus's
        column ``span`` marks), ``none`` (every token, for SAEs and exact decomposition); several in one pass. Position
        0 and special tokens are never used.
    out
        The folder.
    offset
        First token of ``mean`` and ``max``, counted from where reading begins; None takes 20 (0 for ``read="reply"``).
    format, role, read
        ``chat`` puts each text into the model's chat template as a message of `role` (``user`` or ``assistant``);
        `read` says which tokens are used: the ``text``'s own, the ``reply`` header that follows it, or ``all``.
    long
        For a text longer than the context: ``error``, ``truncate`` or ``split``.
    budget
        Padded tokens of a batch; None takes the folder's own when it goes on, and otherwise what a short probe finds.
        Kept in the manifest.
    engine
        ``local``; ``ray`` for workers on a Ray cluster; ``ndif`` for a model loaded with ``remote=True``.
    workers
        Number of Ray workers; None takes one for each GPU, or for each CPU, of the cluster.
    progress
        Called as shards are done.

    Returns
    -------
    Activations
        The finished store.

    Raises
    ------
    ConfigError, CorpusError, ModelError, StoreError
        A pool, site or setting that does not exist; a text with no token to pool or longer than the context; a value
        that is not finite; a folder that holds another recording or cannot be written.
    """
    _check_engine(engine, model, workers)
    if budget is not None and budget < 1:
        raise ConfigError(f"budget is {budget}; it counts the padded tokens of a batch, such as 512")
    reading = Reading(format=format, role=role, read=read, offset=offset, long=long)
    wanted = pools_by_site(sites, pool, model)
    texts = prepare(model, corpus, reading, all_pools(wanted))
    folder = Path(out)
    size = budget or _known_budget(folder) or find_budget(model, texts, wanted)
    job = make_job(model, corpus, texts, wanted, reading, budget=size)
    with writing(folder, job.settings, texts.frame) as writer:
        if writer.complete:
            log.info("%s already holds this recording: nothing to do", folder)
        else:
            if engine == "ray":
                facts = record_on_ray(model, job, writer, progress, workers)
            else:
                facts = record_here(model, job, writer, progress)
            writer.finish(len(job.plan.shards), collect(engine=engine, **facts))
    return open_activations(folder)


def _known_budget(folder: Path) -> int | None:
    """Budget of the recording that the folder already holds, so that resuming and workers batch alike."""
    for name in (MANIFEST, UNFINISHED):
        if (folder / name).is_file():
            budget = read_manifest(folder / name)["settings"].get("budget")
            return budget if isinstance(budget, int) and budget > 0 else None
    return None


def _check_engine(engine: str, model: Model, workers: int | None) -> None:
    if engine not in ("local", "ray", "ndif"):
        raise ConfigError(f"unknown engine '{engine}'; engines are local, ray, ndif")
    if workers is not None and (engine != "ray" or workers < 1):
        raise ConfigError(f"workers is {workers} with engine '{engine}'; give 1 or more, with engine 'ray'")
    if engine == "ray":
        loadable(model)
    if (engine == "ndif") != bool(model.remote):
        told = "was loaded here; load it with remote=True" if engine == "ndif" else "is elsewhere; use engine='ndif'"
        raise ConfigError(f"engine '{engine}' cannot run '{model.name}': it {told}")
