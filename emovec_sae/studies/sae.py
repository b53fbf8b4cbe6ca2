"""Stage 3: train an SAE on the site's tokens, or take one that is there, and measure its fitness on held-out texts."""

from __future__ import annotations

import shutil
from typing import Any

from emovec_sae.errors import ConfigError, MismatchError, suggest
from emovec_sae.studies.context import Context
from emovec_sae.studies.stage import Progress, Run


def sae_stage(run: Run, context: Context) -> None:
    """Train on all groups but the held-out ones, or link the study's own SAE; the passport is of those groups."""
    section, seed = context.study.sae, context.study.seed
    _check(context)

    def work(progress: Progress) -> None:
        """Train or link it, then measure its fitness."""
        from emovec_sae.saes.passport import passport

        held_out = context.acts.frame["group"].isin(section.held_out or context.corpus.groups)
        if section.source is None:
            _train(context, ~held_out, progress)
        else:
            _link(context)
        context.__dict__.pop("coder", None)
        passport(context.coder, context.acts.where(held_out)).save(context.path / "passport.json")

    outputs = ["sae/cfg.json", "sae/sae_weights.safetensors", "passport.json"]
    settings = {**section.model_dump(exclude_none=True), "seed": seed, "site": str(context.site)}
    about = "train an SAE on the site's tokens" if section.source is None else "measure the SAE's fitness"
    run.stage("sae", about, settings=settings, after=["record"], outputs=outputs, work=work)


def _check(context: Context) -> None:
    section, groups = context.study.sae, context.corpus.groups
    for group in section.held_out:
        if group not in groups:
            raise ConfigError(
                f"sae.held_out: there is no group '{group}'{suggest(group, groups)} in {context.corpus.name}"
            )
    if section.source is None and (not section.held_out or set(section.held_out) >= set(groups)):
        raise ConfigError("sae.held_out: name at least one group, and leave at least one for training")
    if section.source is None and section.sae_id is not None:
        raise ConfigError("sae.sae_id names an SAE of a release; name the release in sae.source")


def _train(context: Context, training: Any, progress: Progress) -> None:
    from emovec_sae.saes.train import train_sae

    section = context.study.sae
    options: dict[str, Any] = {"d_sae": section.d_sae, "k": section.k, "tokens": section.tokens}
    folder = context.path / "sae"
    if folder.is_symlink():  # a study that had a source before
        folder.unlink()
    tokens = context.acts.where(training)[context.site]
    train_sae(tokens, out=folder, overwrite=True, progress=progress, seed=context.study.seed, **options)


def _link(context: Context) -> None:
    """Let ``sae`` in the run's folder be the SAE's own folder: a wide one is large."""
    from emovec_sae.saes.load import load_sae, sae_folder

    section = context.study.sae
    source = sae_folder(context.named(str(section.source)), section.sae_id)
    found = load_sae(source)
    if found.site != context.site:
        raise MismatchError(
            f"sae.source reads {found.site}, directions.site is {context.site}; set directions.site to the SAE's"
        )
    folder = context.path / "sae"
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)
    folder.symlink_to(source.resolve(), target_is_directory=True)
