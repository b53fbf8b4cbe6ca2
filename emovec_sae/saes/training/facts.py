"""What ``emovec.json`` says of a trained SAE: from what, how, on which texts, and how it came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from emovec_sae.provenance import collect, digest
from emovec_sae.saes.training.settings import Settings

if TYPE_CHECKING:
    from emovec_sae.store.site_view import SiteActivations


def identity(plan: Settings, sources: Sequence[SiteActivations], held_out: Sequence[str]) -> dict[str, Any]:
    """All that the weights depend on, as JSON has it: two runs with the same one give the same weights."""
    return {
        **asdict(plan),
        "options": dict(plan.options),
        "site": str(sources[0].site),
        "stores": [source.activations.fingerprint for source in sources],
        "texts": digest(_ids(sources)),
        "held_out": sorted(map(str, held_out)),
    }


def identity_of(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The identity of a finished SAE, from its ``emovec.json``; what an older one does not say is absent."""
    training, texts = facts.get("training", {}), facts.get("texts", {})
    found = {name: training[name] for name in Settings.__dataclass_fields__ if name in training}
    found["site"] = facts.get("site")
    found["stores"] = [store.get("activations") for store in facts.get("stores", [])]
    return {**found, "texts": texts.get("hash"), "held_out": texts.get("held_out")}


def facts(
    plan: Settings,
    sources: Sequence[SiteActivations],
    held_out: Sequence[str],
    *,
    sample: np.ndarray,
    training: Mapping[str, Any],
) -> dict[str, Any]:
    """Compose the file's content.

    Parameters
    ----------
    plan, sources, held_out
        Settings; the texts trained on; groups that were left out of them.
    sample
        Residuals without sinks, (n, d), of which the norms are told.
    training
        What the run itself found: steps, unique tokens, seconds and the like.
    """
    centred = sample - sample.mean(0)
    return {
        "model": dict(sources[0].activations.model),
        "site": str(sources[0].site),
        "training": {**asdict(plan), "options": dict(plan.options), **training},
        "residual": {
            "mean_norm": float(np.linalg.norm(sample, axis=1).mean()),
            "centred_norm": float(np.linalg.norm(centred, axis=1).mean()),
        },
        "texts": _texts(sources, held_out),
        "stores": [
            {
                "activations": source.activations.fingerprint,
                "corpus_hash": source.activations.corpus_hash,
                "texts": len(source.activations.frame),
                "tokens": source.count_tokens(),
            }
            for source in sources
        ],
        "provenance": collect(seed=plan.seed),
    }


def _ids(sources: Sequence[SiteActivations]) -> list[str]:
    return [str(value) for source in sources for value in source.activations.frame["id"]]


def _texts(sources: Sequence[SiteActivations], held_out: Sequence[str]) -> dict[str, Any]:
    """Which texts it saw: nothing may be claimed about an SAE on the texts that it was trained on."""
    frames = [source.activations.frame for source in sources]
    groups = {str(value) for frame in frames if "group" in frame for value in frame["group"].dropna()}
    ids = _ids(sources)
    return {"hash": digest(ids), "ids": ids, "groups": sorted(groups), "held_out": sorted(map(str, held_out))}
