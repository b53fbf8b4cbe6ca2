"""Train SAEs on recorded tokens, saved in sae-lens's own format: whole, resumable, reproducible."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from emovec_sae.errors import ConfigError
from emovec_sae.saes.coder import SparseCoder
from emovec_sae.saes.load import load_sae
from emovec_sae.saes.training.checkpoint import Checkpoints
from emovec_sae.saes.training.facts import identity
from emovec_sae.saes.training.finish import finish, is_finished
from emovec_sae.saes.training.run import Job, run, survey
from emovec_sae.saes.training.settings import TrainingOptions, settings
from emovec_sae.saes.training.stream import leave_out, require_same
from emovec_sae.saes.training.trainer import Point
from emovec_sae.sites import Site

if TYPE_CHECKING:
    from emovec_sae.store.reader import Activations
    from emovec_sae.store.site_view import SiteActivations

log = logging.getLogger(__name__)


def train_sae(
    acts: SiteActivations | Sequence[SiteActivations],
    *,
    out: str | Path,
    d_sae: int,
    seed: int = 0,
    held_out: Sequence[str] = (),
    overwrite: bool = False,
    checkpoint_seconds: float = 60.0,
    progress: Callable[[int, int], None] | None = None,
    watch: Callable[[str, Point], None] | None = None,
    device: str = "cpu",
    **given: Unpack[TrainingOptions],
) -> SparseCoder:
    """Train an SAE on every recorded token of a site and save it.

    Input is centred and scaled to a mean norm of sqrt(d_in) while it trains; both are folded into the saved weights,
    so that the folder takes raw activations. Sink tokens (`emovec_sae.saes.sinks`) are left out.

    A run that was stopped, however roughly, goes on from its last checkpoint when it is started again, and ends with
    the very weights that it would have had. A folder that holds this very run already is left as it is.

    Parameters
    ----------
    acts
        A site with tokens, such as ``acts["resid_post.15"]``, or that site of several stores, which are mixed in
        proportion to their tokens; of a view (``acts.where(...)``) only its texts count.
    out
        Folder to write: ``cfg.json`` and ``sae_weights.safetensors`` as sae-lens has them, ``emovec.json`` and the
        curve, ``training.csv``. Checkpoints lie in ``OUT.unfinished`` until then.
    d_sae
        Number of latents.
    seed
        Of the initial weights.
    held_out
        Groups that are left out of training; the finished SAE's l0 is measured on them.
    overwrite
        Whether an existing folder is replaced.
    checkpoint_seconds
        Time between checkpoints.
    progress
        Called with (tokens done, tokens in all) after each step.
    watch
        Called with the SAE's name and each `Point` of the curve.
    device
        Where to train.
    **given
        ``architecture`` (one of `emovec_sae.saes.architectures.TRAINABLE`, ``topk`` by default), ``k`` (active latents
        a token, 32; the TopK family holds to it, jumprelu is drawn to it, the penalties of standard and gated decide
        for themselves), ``tokens`` (of the run, repeats counted; by default each recorded token twice), ``batch``
        (1,024), ``lr`` (3e-3), ``warm_up`` and ``decay`` (shares of the steps), ``dead_after`` (steps without firing
        after which a latent is revived), ``order_seed`` (of the order of tokens, 0), ``precision`` (``bfloat16`` for
        choosing latents), ``options`` (further fields of sae-lens's training configuration, such as
        ``{"l1_coefficient": 5}``). See `emovec_sae.saes.training.settings.Settings`.

    Returns
    -------
    SparseCoder
        The saved SAE, loaded anew.

    Raises
    ------
    ConfigError
        If a setting is impossible, a held-out group is unknown, too few tokens are left, or `out` or its checkpoint
        was made with other settings.
    MismatchError
        If stores of different models, precisions or sites are given.
    StoreError
        If the site was recorded without its tokens.
    """
    sources = list(acts) if isinstance(acts, Sequence) else [acts]
    require_same(sources)
    job = _job(sources, Path(out), d_sae=d_sae, seed=seed, held_out=held_out, given=given)
    return _train(
        [job], Path(out), held_out=held_out, unseen={job.site: leave_out(sources, held_out, inside=True)},
        overwrite=overwrite, every=checkpoint_seconds, progress=progress, watch=watch, device=device,
    )[job.name]  # fmt: skip


def train_saes(
    acts: Activations | Sequence[Activations],
    *,
    sites: Sequence[str | Site],
    seeds: Sequence[int] = (0,),
    out: str | Path,
    d_sae: int,
    held_out: Sequence[str] = (),
    overwrite: bool = False,
    checkpoint_seconds: float = 60.0,
    progress: Callable[[int, int], None] | None = None,
    watch: Callable[[str, Point], None] | None = None,
    device: str = "cpu",
    **given: Unpack[TrainingOptions],
) -> dict[tuple[Site, int], SparseCoder]:
    """Train SAEs of several sites and seeds in one pass over the tokens.

    Each comes out as `train_sae` alone would have made it, bit for bit; the stores are read once.

    Parameters
    ----------
    acts
        A store with tokens at the sites, or several, mixed in proportion to their tokens.
    sites, seeds
        One SAE is trained for each pair of them.
    out
        Parent of the folders, ``OUT/SITE/seed-N``; those that hold this run already are left as they are.
    d_sae, held_out, overwrite, checkpoint_seconds, progress, watch, device, **given
        See `train_sae`.

    Returns
    -------
    dict
        By (site, seed), the saved SAE.

    Raises
    ------
    ConfigError, MismatchError, StoreError
        As `train_sae` does; also if a site or seed is named twice, or none is.
    """
    stores = list(acts) if isinstance(acts, Sequence) else [acts]
    places = [Site.parse(site) for site in sites]
    if not places or not seeds:
        raise ConfigError("name at least one site and one seed")
    if len(set(places)) < len(places) or len(set(seeds)) < len(seeds):
        raise ConfigError("each site and each seed can be named once")
    jobs: dict[tuple[Site, int], Job] = {}
    unseen: dict[Site, list[SiteActivations]] = {}
    for site in places:
        sources = [store[site] for store in stores]
        require_same(sources)
        unseen[site] = leave_out(sources, held_out, inside=True)
        for seed in seeds:
            folder = Path(out) / str(site) / f"seed-{seed}"
            jobs[site, seed] = _job(sources, folder, d_sae=d_sae, seed=seed, held_out=held_out, given=given)
    found = _train(
        list(jobs.values()), Path(out), held_out=held_out, unseen=unseen,
        overwrite=overwrite, every=checkpoint_seconds, progress=progress, watch=watch, device=device,
    )  # fmt: skip
    return {key: found[job.name] for key, job in jobs.items()}


def _job(
    sources: Sequence[SiteActivations],
    folder: Path,
    *,
    d_sae: int,
    seed: int,
    held_out: Sequence[str],
    given: TrainingOptions,
) -> Job:
    kept = leave_out(sources, held_out)
    plan = settings(d_sae, seed, given, unique=sum(source.count_tokens() for source in kept))
    return Job(f"{kept[0].site}.seed-{seed}", folder, plan, kept)


def _train(
    jobs: Sequence[Job],
    out: Path,
    *,
    held_out: Sequence[str],
    unseen: Mapping[Site, Sequence[SiteActivations]],
    overwrite: bool,
    every: float,
    progress: Callable[[int, int], None] | None,
    watch: Callable[[str, Point], None] | None,
    device: str,
) -> dict[str, SparseCoder]:
    """Train what is not finished; by name of the job, the saved SAE."""
    identities = {job.name: identity(job.plan, job.sources, held_out) for job in jobs}
    wanted = [job for job in jobs if overwrite or not is_finished(job.out, identities[job.name])]
    found: dict[str, SparseCoder] = {}
    for job in jobs:
        if job not in wanted:
            log.info("'%s' is finished, with these settings; nothing to do", job.out)
            found[job.name] = load_sae(job.out, device=device)
    checkpoints = Checkpoints(out, identities)
    if not wanted:
        checkpoints.remove_own()
    else:
        grounds = {
            site: survey(sources, wanted[0].plan.order_seed)
            for site, sources in {job.site: job.sources for job in wanted}.items()
        }
        trained = run(
            wanted, checkpoints, grounds, every=every, replace=overwrite, progress=progress, watch=watch, device=device
        )
        for job in wanted:
            found[job.name] = finish(
                job, trained[job.name], held_out=held_out, unseen=unseen[job.site], scratch=checkpoints.folder
            )
        checkpoints.remove()
    return found
