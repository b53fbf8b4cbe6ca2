"""Stage 3: train an SAE on the site's tokens and measure its fitness on texts that it has not seen."""

from __future__ import annotations

from typing import Any

from emovec_sae.errors import ConfigError, suggest
from emovec_sae.studies.context import Context
from emovec_sae.studies.stage import Progress, Run


def sae_stage(run: Run, context: Context) -> None:
    """Train on all groups but the held-out ones; the passport is measured on those."""
    section, seed = context.study.sae, context.study.seed
    groups = context.corpus.groups
    for group in section.held_out:
        if group not in groups:
            raise ConfigError(
                f"sae.held_out: there is no group '{group}'{suggest(group, groups)} in {context.corpus.name}"
            )
    if not section.held_out or set(section.held_out) >= set(groups):
        raise ConfigError("sae.held_out: name at least one group, and leave at least one for training")

    def work(progress: Progress) -> None:
        from emovec_sae.saes.passport import passport
        from emovec_sae.saes.train import train_sae

        held_out = context.acts.frame["group"].isin(section.held_out)
        options: dict[str, Any] = {"d_sae": section.d_sae, "k": section.k, "tokens": section.tokens, "seed": seed}
        training = context.acts.where(~held_out)[context.site]
        coder = train_sae(training, out=context.path / "sae", overwrite=True, progress=progress, **options)
        passport(coder, context.acts.where(held_out)).save(context.path / "passport.json")

    outputs = ["sae/cfg.json", "sae/sae_weights.safetensors", "passport.json"]
    settings = {**section.model_dump(), "seed": seed, "site": str(context.site)}
    run.stage(
        "sae", "train an SAE on the site's tokens", settings=settings, after=["record"], outputs=outputs, work=work
    )
