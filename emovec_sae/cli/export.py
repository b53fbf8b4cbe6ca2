"""emovec export, pull: artefacts for other tools and for the hub."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from cyclopts import Parameter

from emovec_sae.cli.options import USUAL, Json
from emovec_sae.cli.output import answer, table
from emovec_sae.errors import ConfigError, MismatchError

if TYPE_CHECKING:
    from emovec_sae.decomposition.result import Decomposition
    from emovec_sae.directions.direction_set import DirectionSet
    from emovec_sae.exports.artefact import Artefact

To = Literal["safetensors", "gguf", "hub", "parquet", "csv", "sae-lens", "neuronpedia"]
Flag = Annotated[bool, Parameter(negative="")]
Several = Annotated[list[str] | None, Parameter(negative="")]
Kind = TypeVar("Kind")


@Parameter(name="*")
@dataclass(frozen=True)
class Card:
    """What the card of directions says beyond what they know of themselves.

    Attributes
    ----------
    evaluation
        Directions: what evaluate --out wrote, for the card.
    corpus
        Directions: name of the texts, where they are not packaged ones.
    licence
        Licence (SPDX) of the texts, where they are not packaged ones.
    """

    evaluation: Path | None = None
    corpus: str | None = None
    licence: str | None = None


@Parameter(name="*")
@dataclass(frozen=True)
class Vector:
    """How control vectors are made.

    Attributes
    ----------
    strength
        gguf: length of each vector, in units of the mean residual norm.
    mix
        gguf: EMOTION=STRENGTH, one file with the sum; repeatable.
    model_hint
        gguf: llama.cpp's name of the architecture.
    """

    strength: float = 0.1
    mix: Several = None
    model_hint: str | None = None


@Parameter(name="*")
@dataclass(frozen=True)
class Hub:
    """Where on the hub.

    Attributes
    ----------
    repo
        hub: OWNER/NAME.
    public
        hub: a new repository is for everybody to see; it is private otherwise.
    dry_run
        hub: list what would be uploaded, and ask nobody.
    """

    repo: str | None = None
    public: Flag = False
    dry_run: Flag = False


CARD, VECTOR, HUB = Card(), Vector(), Hub()


def export(
    sources: list[str],
    /,
    *,
    to: To,
    out: Path | None = None,
    sae_id: str | None = None,
    emotions: Several = None,
    k: int | None = None,
    model: str | None = None,
    card: Card = CARD,
    vector: Vector = VECTOR,
    hub: Hub = HUB,
    force: Flag = False,
    json_: Json = False,
) -> None:
    """Write directions, a decomposition or an SAE for other tools.

    Parameters
    ----------
    sources
        What fit wrote (.safetensors), what decompose wrote (.parquet), or an SAE (a folder, or a release with
        --sae-id); one of them.
    to
        safetensors (directions: a folder with a model card), gguf (directions: control vectors of llama.cpp and
        repeng), hub (anything: a repository of the Hugging Face hub), parquet or csv (a decomposition: a tidy table
        with units), sae-lens (an SAE: a checked copy), neuronpedia (a decomposition: the address of a list).
    out
        Where to write: a folder for safetensors, sae-lens and gguf, a file for parquet and csv; for one emotion or a
        mixture gguf takes a file, too.
    sae_id
        The SAE's id within a release.
    emotions
        gguf: which emotions, a file each (all by default); neuronpedia: which one. Repeatable.
    k
        neuronpedia: how many latents.
    model
        Load this model, and refuse if the artefact is of another.
    force
        Replace files of the same names.
    """
    from emovec_sae.exports.artefact import open_artefact

    artefact = open_artefact(_only(sources), sae_id)
    _check_model(artefact, model)
    if to == "hub":
        _push(artefact, card, hub, force=force, json_=json_)
        return
    if hub != HUB:
        raise ConfigError(f"--repo, --public and --dry-run are for --to hub, not for --to {to}")
    if to == "neuronpedia":
        _neuronpedia(artefact, emotions, k, json_=json_)
        return
    if out is None:
        raise ConfigError(f"--to {to} needs --out, the name of what is written")
    write = partial(_gguf, vector=vector, emotions=emotions) if to == "gguf" else partial(_written, to=to, card=card)
    files = write(artefact, out, force=force)
    answer({"to": to, "files": [str(path) for path in files]}, json_=json_, text="\n".join(map(str, files)))


def pull(repo: str, *, out: Path, revision: str | None = None, force: Flag = False, json_: Json = False) -> None:
    """Fetch directions, a decomposition or an SAE from the hub, and check every file.

    Parameters
    ----------
    repo
        OWNER/NAME.
    out
        Folder to keep the files in.
    revision
        Branch, tag or commit.
    force
        Replace files of the same names.
    """
    from emovec_sae.exports.hub import pull as pull_

    found = pull_(repo, revision=revision, out=out, overwrite=force)
    answer({"repo": repo, "out": str(out), "kind": type(found).__name__}, json_=json_, text=f"{found!r}\nin {out}")


def _only(sources: list[str]) -> str:
    if len(sources) != 1:
        raise ConfigError(
            f"one artefact is exported at a time, got {len(sources)}: a set of directions is of one site, and each "
            "site is an export of its own"
        )
    return sources[0]


def _check_model(artefact: Artefact, name: str | None) -> None:
    from emovec_sae.cli.model import open_model

    if name is None:
        return
    ours = artefact.model.get("fingerprint")
    loaded = open_model(name, USUAL)
    if ours != loaded.fingerprint:
        raise MismatchError(
            f"this is of model '{artefact.model.get('name')}' ({str(ours)[:12]}), not of '{name}' "
            f"({loaded.fingerprint[:12]}); export it for its own model"
        )


def _written(artefact: Artefact, out: Path, *, to: str, card: Card, force: bool) -> list[Path]:
    if to == "safetensors":
        from emovec_sae.exports.artefact import export_directions

        told: dict[str, Any] = {"evaluation": card.evaluation, "corpus": card.corpus, "licence": card.licence}
        return [export_directions(_directions(artefact, to), out, **told, overwrite=force)]
    if to == "sae-lens":
        from emovec_sae.exports.sae import export_sae_lens
        from emovec_sae.saes.coder import SparseCoder

        return [export_sae_lens(_of(SparseCoder, artefact, to, "an SAE (a folder, or --sae-id)"), out, overwrite=force)]
    from emovec_sae.exports.table import export_table

    if out.suffix != f".{to}":
        raise ConfigError(f"--to {to} writes a name that ends in .{to}, got '{out.name}'")
    return [export_table(_decomposition(artefact, to), out, overwrite=force)]


def _push(artefact: Artefact, card: Card, hub: Hub, *, force: bool, json_: bool) -> None:
    from emovec_sae.exports.hub import push

    if hub.repo is None:
        raise ConfigError("--to hub needs --repo OWNER/NAME")
    done = push(
        artefact, hub.repo, evaluation=card.evaluation, corpus=card.corpus, licence=card.licence,
        private=not hub.public, dry_run=hub.dry_run, overwrite=force,
    )  # fmt: skip
    facts = {"repo": done.repo, "kind": done.kind, "private": done.private, "url": done.url, "dry_run": hub.dry_run}
    head = f"would upload to {done.repo}:" if hub.dry_run else f"uploaded: {done.url}"
    answer({**facts, "files": done.frame().to_dict("records")}, json_=json_, text=f"{head}\n{table(done.frame())}")


def _gguf(artefact: Artefact, out: Path, *, vector: Vector, emotions: list[str] | None, force: bool) -> list[Path]:
    from emovec_sae.exports.control_vector import export_gguf

    mix = dict(_part(one) for one in vector.mix) if vector.mix else None
    return export_gguf(
        _directions(artefact, "gguf"), out, emotions=emotions, strength=vector.strength, mix=mix,
        model_hint=vector.model_hint, overwrite=force,
    )  # fmt: skip


def _part(text: str) -> tuple[str, float]:
    name, _, value = text.rpartition("=")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not name or math.isnan(number):
        raise ConfigError(f"cannot read --mix {text}; write EMOTION=STRENGTH, such as afraid=0.1")
    return name, number


def _neuronpedia(artefact: Artefact, emotions: list[str] | None, k: int | None, *, json_: bool) -> None:
    from emovec_sae.exports.neuronpedia import neuronpedia_list

    parts = _decomposition(artefact, "neuronpedia")
    chosen = emotions if emotions is not None else list(parts.emotions)
    if len(chosen) != 1:
        raise ConfigError(f"a list is of one emotion, {len(chosen)} are given; choose one with --emotions")
    url = neuronpedia_list(parts, chosen[0], k=k)
    answer({"url": url, "emotion": chosen[0]}, json_=json_, text=url)


def _directions(artefact: Artefact, to: str) -> DirectionSet:
    from emovec_sae.directions.direction_set import DirectionSet

    return _of(DirectionSet, artefact, to, "directions (what fit writes)")


def _decomposition(artefact: Artefact, to: str) -> Decomposition:
    from emovec_sae.decomposition.result import Decomposition

    return _of(Decomposition, artefact, to, "a decomposition (what decompose writes)")


def _of(kind: type[Kind], artefact: Artefact, to: str, wanted: str) -> Kind:
    if not isinstance(artefact, kind):
        raise ConfigError(f"--to {to} is for {wanted}, this is a {type(artefact).__name__}")
    return artefact
