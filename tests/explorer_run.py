"""Small runs for the explorer: artefacts that belong together, made in a moment from a model's own activations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from emovec_sae.corpora import load_corpus
from emovec_sae.decomposition.api import decompose
from emovec_sae.directions.fit import fit_directions
from emovec_sae.models.model import Model
from emovec_sae.recording.record import record
from emovec_sae.saes.jump_relu import jump_relu
from emovec_sae.sites import Site
from emovec_sae.testing import tiny_corpus

ATTACK = '<script>document.title="owned"</script>'
EMOTIONS = ("afraid", "angry", "happy", "sad")
DECOMPOSED = ("afraid", "angry", "happy")
REAL, TINY = Site("resid_post", 18), Site("resid_post", 1)


def real_run(folder: Path, model: Model) -> Path:
    """A run of the embedded model: four emotions, three of them decomposed."""
    corpus = load_corpus("stories").select(emotions=list(EMOTIONS), groups=["call", "job", "train"])
    acts = record(model, corpus, sites={str(REAL): ["mean", "none"]}, out=folder / "activations")
    return write_run(folder, model, acts, site=REAL, decomposed=list(DECOMPOSED), latents=192)


def tiny_run(folder: Path, model: Model) -> Path:
    """A run of a tiny random model: emotions e0, e1 and e2, the first two decomposed."""
    acts = record(model, tiny_corpus(), sites={str(TINY): ["mean", "none"]}, out=folder / "activations", offset=5)
    return write_run(folder, model, acts, site=TINY, decomposed=["e0", "e1"], latents=48)


def write_run(folder: Path, model: Model, acts: Any, *, site: Site, decomposed: list[str], latents: int) -> Path:
    """Write directions, an SAE whose rows are states of tokens, its contrast, cards with a hostile text, and doses."""
    directions = fit_directions(acts, site=site)
    directions.save(folder / "directions.safetensors")
    states = np.concatenate([chunk.values[chunk.pooled] for chunk in acts.tokens(site)]).astype(np.float64)
    centre = states.mean(axis=0)
    picked = np.random.default_rng(0).choice(len(states), latents, replace=False)
    rows = states[picked] - centre
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    threshold = np.quantile((states - centre) @ rows.T, 0.95, axis=0)
    coder = jump_relu(rows, rows.T, centre, threshold=threshold, site=site, model_name=model.name)
    coder.sae.save_model(folder / "sae")
    found = decompose(directions, coder, acts, emotions=decomposed, k=8, nulls=2, seed=0, override=True)
    found.save(folder / "contrast.parquet")
    first = int(found.latents(decomposed[0], 1, dense=False)[0][0])
    (folder / "latents.json").write_text(json.dumps([card(first, decomposed[0])]), encoding="utf-8")
    doses(decomposed[0]).to_parquet(folder / "comparison.doses.parquet")
    study = {"title": f"A small run {ATTACK}", "model": {"name": model.name, "device": "cpu"}}
    (folder / "study.json").write_text(json.dumps({"study": study}), encoding="utf-8")
    return folder


def card(latent: int, emotion: str) -> dict[str, Any]:
    """A latent as a run keeps it."""
    tokens = [("It", 0.0), (" was", 1.5), (f" {ATTACK}", 3.0), (" dark", 2.25)]
    pieces = [{"token": token, "activation": value} for token, value in tokens]
    shares = [{"emotion": emotion, "share": 0.03, "low": 0.01, "high": 0.05}]
    passages = [{"emotion": emotion, "id": f"{emotion}.night", "pieces": pieces}]
    return {"latent": latent, "emotions": shares, "tokens_up": ["dark"], "firing_rate": 0.05, "passages": passages}


def doses(emotion: str) -> pd.DataFrame:
    """Planted doses of one emotion: KL is the square of the strength, and k=4 needs twice the strength of raw."""
    rows = [
        {"arm": arm, "emotion": emotion, "draw": 0, "level": kl, "kl": kl, "coefficient": 1.0, "reached": True,
         "strength": factor * kl**0.5}
        for arm, factor in (("raw", 1.0), ("k=4", 2.0))
        for kl in (0.0025, 0.01, 0.04)
    ]  # fmt: skip
    return pd.DataFrame(rows)
