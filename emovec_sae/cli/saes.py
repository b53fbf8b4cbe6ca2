"""emovec train-sae: a dictionary for the activations at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from emovec_sae.cli.options import Json
from emovec_sae.cli.output import answer, bar, table


def train_sae(
    folder: Path,
    *,
    site: str,
    d_sae: int,
    out: Path,
    arch: str = "topk",
    k: int = 32,
    tokens: int | None = None,
    held_out: Annotated[list[str] | None, Parameter(negative="")] = None,
    lr: float | None = None,
    seed: int = 0,
    overwrite: bool = False,
    json_: Json = False,
) -> None:
    """Train an SAE on recorded tokens; the result is a folder in sae-lens's format.

    Parameters
    ----------
    folder
        What record wrote, with pool none.
    site
        The recorded site to train on.
    d_sae
        Number of latents.
    out
        Folder to write.
    arch
        topk, or another architecture that sae-lens trains.
    k
        Latents active at a token.
    tokens
        Tokens to train on, counted with repeats; one pass by default.
    held_out
        Groups to leave out; repeatable.
    lr
        Learning rate.
    overwrite
        Replace a folder that is there.
    """
    from emovec_sae.saes.passport import passport as passport_
    from emovec_sae.saes.train import train_sae as train
    from emovec_sae.store.reader import open_activations

    acts = open_activations(folder)
    options: dict[str, Any] = {"lr": lr} if lr is not None else {}
    with bar(f"train {d_sae} latents") as progress:
        coder = train(
            acts[site], out=out, d_sae=d_sae, architecture=arch, k=k, tokens=tokens, held_out=held_out or [], seed=seed,
            overwrite=overwrite, progress=progress, **options,
        )  # fmt: skip
    facts = {"out": str(out), "site": str(coder.site), "d_sae": coder.d_sae, "architecture": coder.architecture}
    if held_out:
        found = passport_(coder, acts.where(acts.frame["group"].isin(held_out)))
        answer(
            {**facts, "held_out": found.frame().to_dict("records")}, json_=json_, text=f"{out}\n{table(found.frame())}"
        )
    else:
        answer(facts, json_=json_)
