"""Artefacts as folders to hand on: the files of the package's own format, a card, and a manifest with hashes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emovec_sae.decomposition.files import load_decomposition
from emovec_sae.decomposition.result import Decomposition
from emovec_sae.directions.direction_set import DirectionSet
from emovec_sae.directions.evaluation import Evaluation
from emovec_sae.directions.files import load_directions
from emovec_sae.errors import ConfigError, MismatchError, StoreError
from emovec_sae.exports.card import decomposition_card, directions_card, sae_card
from emovec_sae.exports.folders import filled_folder, write_manifest
from emovec_sae.exports.loading import NAME
from emovec_sae.exports.sae import write_sae
from emovec_sae.exports.texts import texts_of
from emovec_sae.provenance import read_json, write_json
from emovec_sae.saes.coder import SparseCoder
from emovec_sae.saes.load import load_sae

Artefact = DirectionSet | Decomposition | SparseCoder
Evaluated = Evaluation | str | Path | Mapping[str, Any]
"""An evaluation, or what it saved."""
TABLE = "decomposition.parquet"


def export_directions(
    directions: DirectionSet,
    out: str | Path,
    *,
    evaluation: Evaluated | None = None,
    corpus: str | None = None,
    licence: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write directions as a folder that stands on its own: safetensors, sidecar, model card, manifest.

    Parameters
    ----------
    directions
        What was fitted.
    out
        The folder.
    evaluation
        An evaluation, or what `emovec evaluate --out` wrote, for the card's numbers; it is put into the folder.
    corpus, licence
        Name and licence (SPDX) of the texts where they are not the packaged ones, whose licence is known. The card
        states this licence for the directions, too.
    overwrite
        Whether files of the same names in `out` may be replaced; other files there are left alone.

    Returns
    -------
    Path
        The folder; ``directions.safetensors`` in it is what `load_directions` reads.

    Raises
    ------
    ConfigError
        If a file is there and `overwrite` is not set, or the evaluation cannot be read.
    MismatchError
        If the evaluation is of another model or site, or of other directions.
    """
    with filled_folder(out, overwrite=overwrite) as part:
        fill(directions, part, evaluation=evaluation, corpus=corpus, licence=licence)
    return Path(out)


def fill(
    artefact: Artefact,
    folder: Path,
    *,
    evaluation: Evaluated | None = None,
    corpus: str | None = None,
    licence: str | None = None,
    repo: str | None = None,
) -> str:
    """Write an artefact into an empty folder, and say which kind it is.

    Parameters
    ----------
    artefact
        Directions, a decomposition or an SAE.
    folder
        Where.
    evaluation, corpus, licence
        As in `export_directions`; the first two are for directions alone.
    repo
        The repository of the hub that the folder goes to, for the card's lines.
    """
    if evaluation is not None and not isinstance(artefact, DirectionSet):
        raise ConfigError("an evaluation is of directions; this is none")
    if isinstance(artefact, DirectionSet):
        if isinstance(evaluation, Evaluation):
            evaluation = evaluation.save(folder / "evaluation.json")
        told = None if evaluation is None else checked_evaluation(evaluation, artefact)
        texts = texts_of(artefact, corpus=corpus, licence=licence)
        artefact.save(folder / NAME)
        if told is not None:
            write_json(folder / "evaluation.json", told)
        card = directions_card(artefact, texts=texts, evaluation=told, licence=licence, repo=repo)
        kind = "directions"
    elif isinstance(artefact, Decomposition):
        artefact.save(folder / TABLE)
        card = decomposition_card(artefact, licence=licence, repo=repo)
        kind = "decomposition"
    else:
        write_sae(artefact, folder)
        card = sae_card(artefact, licence=licence, repo=repo)
        kind = "sae"
    (folder / "README.md").write_text(card, encoding="utf-8")
    write_manifest(folder, kind)
    return kind


def load(folder: Path, kind: str) -> Artefact:
    """Read the artefact of an exported folder, which checks its own hashes once more."""
    if kind == "directions":
        return load_directions(folder / NAME)
    if kind == "decomposition":
        return load_decomposition(folder / TABLE)
    return load_sae(folder)


def open_artefact(source: str | Path, sae_id: str | None = None) -> Artefact:
    """Read what a path names: directions (.safetensors), a decomposition (.parquet), or an SAE (folder, release).

    Raises
    ------
    ConfigError, StoreError, MismatchError, ModelError
        If there is nothing of the kind, or it is damaged.
    """
    path = Path(source)
    if sae_id is not None:
        return load_sae(source, sae_id)
    if path.suffix == ".parquet":
        return load_decomposition(path)
    if path.suffix in (".safetensors", ".json"):
        if path.suffix == ".safetensors" and path.with_suffix(".parquet").is_file():
            raise ConfigError(f"'{path}' is a part of a decomposition; name {path.with_suffix('.parquet').name}")
        return load_directions(path)
    if path.is_dir() and not (path / "cfg.json").is_file():
        for name in (NAME, TABLE):
            if (path / name).is_file():
                return open_artefact(path / name)
    return load_sae(source)


def checked_evaluation(given: str | Path | Mapping[str, Any], directions: DirectionSet) -> dict[str, Any]:
    """What an evaluation's file says, if it is one of these directions or of their site in the same model.

    Raises
    ------
    StoreError
        If there is no such file.
    ConfigError
        If it is no evaluation.
    MismatchError
        If it is of another model, of other directions, or of another site.
    """
    told: Any = given
    if not isinstance(given, Mapping):
        if not Path(given).is_file():
            raise StoreError(f"no file {given}; an evaluation is what emovec evaluate --out writes")
        try:
            told = read_json(given)
        except ValueError as error:
            raise ConfigError(f"{given} is no JSON ({error}); give what emovec evaluate --out wrote") from error
    summary, provenance = (told.get(name) if isinstance(told, Mapping) else None for name in ("summary", "provenance"))
    if not isinstance(summary, Mapping) or not isinstance(provenance, Mapping) or "top1" not in summary:
        raise ConfigError("this is no evaluation of directions: summary with top1, and provenance, are wanted")
    directions.check_model(provenance.get("model") or {})
    of = provenance.get("directions")
    if of is not None and of != directions.fingerprint:
        raise MismatchError(
            f"the evaluation is of directions {str(of)[:12]}, these are {directions.fingerprint[:12]}; evaluate these"
        )
    if summary.get("site") != str(directions.site):
        raise MismatchError(f"the evaluation is of {summary.get('site')}, these directions are of {directions.site}")
    return json.loads(json.dumps(told))
