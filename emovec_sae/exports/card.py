"""The README of an exported folder: a model card, written from what the artefact knows of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from emovec_sae.decomposition.result import Decomposition
from emovec_sae.directions.direction_set import DirectionSet
from emovec_sae.exports.loading import in_emovec, in_torch
from emovec_sae.exports.texts import Texts
from emovec_sae.models.embedded import EMBEDDED
from emovec_sae.saes.coder import SparseCoder

Evaluation = Mapping[str, Any]
"""What `Evaluation.save` writes: summary and provenance are read."""

ABOUT = (
    "Linear directions of emotions in the residual stream, fitted with emovec_sae. They belong to this model, in this "
    "precision, and to this site: elsewhere they mean nothing."
)
LIMITS = (
    "A direction is what texts about an emotion share in the model's activations; that is no claim that it feels "
    "anything. Beyond some strength, which differs between models, steered text breaks: measure where (`ev.breakdown`)."
)


def directions_card(
    directions: DirectionSet, *, texts: Texts, evaluation: Evaluation | None, licence: str | None, repo: str | None
) -> str:
    """The card of a direction set; what nobody measured or stated is said to be so."""
    model, site = directions.model, directions.site
    removed = directions.provenance.get("remove") or {}
    rows = {
        "Model": _model(model),
        "Site": f"`{site}` (blocks from 0; TransformerLens `{site.hook_name}`)",
        "Vectors": f"{len(directions)}, {directions.vectors.shape[1]} wide, float32",
        "Estimator": _estimator(directions.estimator),
        "Removed": f"{len(directions.removed)} leading components of {removed.get('texts', 'the')} neutral texts"
        if len(directions.removed)
        else "nothing",
        "Pooling": f"{directions.pool} from token {directions.offset} on (counted from 0)",
        "Readout": f"`{directions.readout}`",
        "Strength": f"in units of the mean residual norm at the site, {directions.residual_norm:.6g}",
        "Texts": f"{texts.n} of {texts.corpus}, {len(directions.groups)} groups; written by {texts.writer}; licence "
        f"{texts.licence or 'not stated'}",
        "Made": _made(directions.provenance),
        "Fingerprint": f"`{directions.fingerprint[:16]}`",
    }
    parts = [
        _head(licence or texts.licence, model, ["emotion", "activation-steering"]),
        f"# Emotion directions of {model.get('name')} at {site}",
        ABOUT,
        _table(rows),
        "## Held-out evaluation\n\n" + _evaluation(evaluation),
        "## Load\n\nIn emovec_sae:\n\n" + _code(in_emovec(directions, repo=repo)),
        "In plain torch, without this package:\n\n" + _code(in_torch(directions)),
        "## Emotions\n\n" + ", ".join(directions.emotions),
        "## Limits\n\n" + LIMITS,
    ]
    return "\n\n".join(parts) + "\n"


def decomposition_card(parts: Decomposition, *, licence: str | None, repo: str | None) -> str:
    """The card of a decomposition."""
    told = parts.facts()
    rows = {
        "Model": _model(parts.model),
        "Site": f"`{parts.site}`",
        "SAE": f"`{parts.sae}` (fingerprint `{parts.sae_fingerprint[:16]}`)",
        "Method": f"`{parts.method}`, {parts.k} latents an emotion",
        "Emotions": ", ".join(parts.emotions),
        "Error share": _number(told.get("error_share")),
        "Intervals": parts.interval,
        "SAE fit": {True: "unfit (overridden)", False: "fit", None: "not measured"}[parts.unfit],
        "Made": _made(parts.provenance),
    }
    source = f'ev.pull("{repo}")' if repo else 'ev.load_decomposition("decomposition.parquet")'
    sections = [
        _head(licence, parts.model, ["emotion", "sparse-autoencoder"]),
        f"# Emotion vectors of {parts.model.get('name')} at {parts.site} as SAE latents",
        _table(rows),
        "## Load\n\n" + _code(f"import emovec_sae as ev\n\nparts = {source}\nparts.frame()"),
    ]
    return "\n\n".join(sections) + "\n"


def sae_card(coder: SparseCoder, *, licence: str | None, repo: str | None) -> str:
    """The card of an SAE."""
    measured = coder.facts.get("l0") or {}
    training = coder.facts.get("training") or {}
    rows = {
        "Model": _model(coder.model),
        "Reads": f"`{coder.site}` (TransformerLens `{coder.site.hook_name}`)",
        "Architecture": f"`{coder.architecture}`, {coder.d_sae} latents, {coder.d_in} wide",
        "l0": f"{measured['measured']:.3g} on {measured.get('on', 'unknown')} tokens" if measured else "not measured",
        "Trained on": f"{training['unique_tokens']} tokens of {len(coder.facts.get('stores', []))} stores, seed "
        f"{training['seed']}"
        if training
        else "see its release",
        "Made": _made(coder.facts.get("provenance") or {}),
    }
    source = f'ev.pull("{repo}")' if repo else 'ev.load_sae(".")'
    sections = [
        _head(licence, coder.model, ["sparse-autoencoder", "sae-lens"]),
        f"# SAE of {coder.model.get('name')} at {coder.site}",
        _table(rows),
        "## Load\n\n"
        + _code(f"import emovec_sae as ev\n\nsae = {source}")
        + "\n\n"
        + _code('from sae_lens import SAE\n\nsae = SAE.load_from_disk(".")  # this folder'),
    ]
    return "\n\n".join(sections) + "\n"


def _head(licence: str | None, model: Mapping[str, Any], tags: list[str]) -> str:
    """The hub's own fields; a model is named as base only where its name is one of the hub."""
    lines = ["---", f"license: {licence or 'other'}"]
    if licence is None:
        lines.append("license_name: not-stated")
    name = str(model.get("name") or "")
    if name.count("/") == 1 and all(part and part[0].isalnum() for part in name.split("/")):
        lines.append(f"base_model: {json.dumps(name)}")
    lines += ["library_name: emovec_sae", "tags:", *(f"- {tag}" for tag in ["interpretability", *tags]), "---"]
    return "\n".join(lines)


def _model(model: Mapping[str, Any]) -> str:
    """Name, class and precision, fingerprint; an embedded name means nothing elsewhere and is explained."""
    embedded = EMBEDDED.get(str(model.get("name")))
    more = [embedded.about] if embedded else []
    more += [str(model[name]) for name in ("architecture", "dtype", "quantization") if model.get(name)]
    print_ = f", fingerprint `{str(model['fingerprint'])[:12]}`" if model.get("fingerprint") else ""
    return f"`{model.get('name')}`" + (f" ({', '.join(more)})" if more else "") + print_


def _estimator(told: Mapping[str, Any]) -> str:
    given = {name: value for name, value in dict(told.get("params", {})).items() if value is not None}
    inside = ", ".join(f"{name}={value}" for name, value in sorted(given.items()) if name != "readout")
    return f"`{told.get('name')}`" + (f" ({inside})" if inside else "")


def _made(provenance: Mapping[str, Any]) -> str:
    packages = provenance.get("packages") or {}
    by = f"emovec_sae {packages['emovec_sae']}" if "emovec_sae" in packages else "an unknown version"
    commit = f", commit {provenance['commit']}" if provenance.get("commit") else ""
    return f"{provenance.get('made', 'at an unknown time')}, {by}{commit}"


def _table(rows: Mapping[str, str]) -> str:
    lines = [f"| {name} | {' '.join(value.replace('|', '&#124;').split())} |" for name, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def _evaluation(saved: Evaluation | None) -> str:
    if saved is None:
        return "None was given to the export."
    told = saved["summary"]
    these = saved["provenance"].get("directions") is not None
    how = "these directions on texts of their own" if these else "directions fitted anew without each group in turn"
    chance = told.get("chance") or {}
    baseline = told.get("baseline") or {}
    about = (
        f"Readout `{told.get('readout')}` at `{told.get('site')}`, {told.get('texts')} texts of {told.get('emotions')} "
        f"emotions in {told.get('groups')} groups: {how}; {told.get('seen')} texts seen in fitting. Intervals are 95 %."
    )
    lines = [
        about,
        "",
        f"| | value | chance | baseline ({baseline.get('name', 'none')}) |",
        "|---|---|---|---|",
    ]
    for name in ("top1", "top5", "auroc", "family"):
        if name in told:
            cells = (_number(told[name]), _number(chance.get(name)), _number(baseline.get(name)))
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _number(told: Any) -> str:
    if isinstance(told, Mapping):
        ends = "" if told.get("low") is None else f" [{told['low']:.2f}, {told['high']:.2f}]"
        return f"{told['value']:.2f}{ends}, n = {told.get('n')}"
    return "unknown" if told is None else f"{told:.3g}"


def _code(text: str) -> str:
    return f"```python\n{text}\n```"
