"""emovec train-sae: dictionaries for the activations at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from emovec_sae.cli.options import Json
from emovec_sae.cli.output import Update, answer, bar, table

if TYPE_CHECKING:
    from emovec_sae.saes.coder import SparseCoder
    from emovec_sae.saes.training.trainer import Point
    from emovec_sae.store.reader import Activations


@Parameter(name="*")
@dataclass(frozen=True)
class Steps:
    """How an SAE is trained.

    Attributes
    ----------
    batch
        Tokens a step.
    lr
        Learning rate of Adam.
    warm_up
        Share of the steps over which the learning rate rises from zero.
    decay
        Share of the steps over which it falls to zero at the end.
    dead_after
        Steps without firing after which a latent is revived; by default half the run, at most 1000.
    order_seed
        Of the order of tokens, which SAEs of several seeds share.
    precision
        float32, or bfloat16 for choosing the active latents.
    checkpoint_seconds
        Time between checkpoints.
    device
        cpu or cuda.
    """

    batch: int = 1024
    lr: float = 3e-3
    warm_up: float = 0.02
    decay: float = 1 / 3
    dead_after: int | None = None
    order_seed: int = 0
    precision: str = "float32"
    checkpoint_seconds: float = 60.0
    device: str = "cpu"


USUAL = Steps()


def train_sae(
    *folders: Path,
    site: Annotated[list[str], Parameter(negative="")],
    d_sae: int,
    out: Path,
    arch: str = "topk",
    k: int = 32,
    tokens: int | None = None,
    seed: Annotated[list[int] | None, Parameter(negative="")] = None,
    held_out: Annotated[list[str] | None, Parameter(negative="")] = None,
    steps: Steps = USUAL,
    overwrite: bool = False,
    json_: Json = False,
) -> None:
    """Train SAEs on recorded tokens; each result is a folder in sae-lens's format.

    A run that was stopped goes on from its last checkpoint when the same command is given again. Several sites or seeds
    are trained in one pass over the tokens, into OUT/SITE/seed-N.

    Parameters
    ----------
    folders
        What record wrote, with pool none; several are mixed in proportion to their tokens.
    site
        The recorded site to train on; repeatable.
    d_sae
        Number of latents.
    out
        Folder to write.
    arch
        topk, batchtopk, matryoshka, jumprelu, gated, standard, abstopk or matching_pursuit.
    k
        Latents active at a token.
    tokens
        Tokens to train on, counted with repeats; two passes by default.
    seed
        Of the initial weights; repeatable, 0 by default.
    held_out
        Groups to leave out; repeatable.
    overwrite
        Replace a folder that is there.
    """
    from emovec_sae.saes.train import train_sae as train
    from emovec_sae.saes.train import train_saes
    from emovec_sae.store.reader import open_activations

    stores, seeds, left_out = [open_activations(folder) for folder in folders], seed or [0], held_out or []
    with bar(f"train {d_sae} latents") as progress:
        shown = _Shown(progress)
        given: dict[str, Any] = {
            "d_sae": d_sae, "architecture": arch, "k": k, "tokens": tokens, "held_out": left_out, **asdict(steps),
            "overwrite": overwrite, "progress": shown.move, "watch": shown.point,
        }  # fmt: skip
        if len(site) == len(seeds) == 1:
            found = {seeds[0]: train([store[site[0]] for store in stores], out=out, seed=seeds[0], **given)}
            told = [_told(coder, out, one, stores, left_out) for one, coder in found.items()]
        else:
            many = train_saes(stores, sites=site, seeds=seeds, out=out, **given)
            told = [
                _told(coder, out / str(place) / f"seed-{one}", one, stores, left_out)
                for (place, one), coder in many.items()
            ]
    answer(
        told[0] if len(told) == 1 else {"out": str(out), "saes": told}, json_=json_, text="\n".join(map(_text, told))
    )


class _Shown:
    """The bar of a training, with the newest point of a curve in words."""

    def __init__(self, update: Update) -> None:
        self.update, self.note = update, ""

    def point(self, name: str, point: Point) -> None:
        """Keep what a curve says now."""
        self.note = f"loss {point.loss:.4g}, EV {point.explained_variance:.3f}, l0 {point.l0:.1f}"

    def move(self, done: int, total: int) -> None:
        """Move the bar."""
        self.update(done, total, self.note)


def _told(
    coder: SparseCoder, out: Path, seed: int, stores: Sequence[Activations], held_out: Sequence[str]
) -> dict[str, Any]:
    """What is said of one SAE; on held-out groups with the passport of each store that has them."""
    from emovec_sae.saes.passport import passport

    told: dict[str, Any] = {
        "out": str(out), "site": str(coder.site), "seed": seed, "d_sae": coder.d_sae,
        "architecture": coder.architecture, "unique_tokens": coder.facts["training"]["unique_tokens"],
        "epochs": coder.facts["training"]["epochs"], "l0": coder.facts["l0"],
    }  # fmt: skip
    rows = [store.frame["group"].astype(str).isin(list(held_out)).to_numpy() for store in stores]
    shown = [passport(coder, store.where(kept)).frame() for store, kept in zip(stores, rows, strict=True) if kept.any()]
    if shown:
        told["held_out"] = [row for frame in shown for row in frame.to_dict("records")]
    return told


def _text(told: dict[str, Any]) -> str:
    import pandas as pd

    l0 = told["l0"]
    asked = "" if l0["asked"] is None else f", {l0['asked']:g} asked"
    line = (
        f"{told['out']}: {told['d_sae']} latents ({told['architecture']}) at {told['site']}, "
        f"l0 {l0['measured']:.1f}{asked}, EV {l0['explained_variance']:.3f} on {l0['tokens']} {l0['on']} tokens; "
        f"{told['unique_tokens']} unique tokens, {told['epochs']:.2f} passes"
    )
    return f"{line}\n{table(pd.DataFrame(told['held_out']))}" if "held_out" in told else line
