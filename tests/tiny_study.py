"""A study of a tiny random model, small enough to run every stage in seconds; what it finds means nothing."""

from __future__ import annotations

import json
from pathlib import Path

STUDY = """
title: A tiny run
model: {name: ./model/}
corpus: {name: stories, emotions: [afraid, angry, happy, sad], groups: [call, job, train]}
recording: {sites: resid_post.0-2}
directions: {site: resid_post.1, test_emotions: [afraid, angry, happy, sad]}
sae: {d_sae: 64, k: 8, tokens: 4096, held_out: [train]}
decomposition: {emotions: [afraid, angry, happy, sad], k: 16, shown: afraid, passages: 2, cards: 2}
interventions: {emotions: [afraid, angry, happy, sad], arms_for: [afraid, happy], sizes: [1, 2], random_draws: 2,
  levels: [0.1, 0.2], positions: 32, new_tokens: 4, selectors: [share, omp, output score, matched], remainders: [2],
  clamped: [1],
  controls: [covariance, permuted, other, flipped, pass-through], fidelity: true}
patching: {pairs: ./pairs.jsonl, limit: null, carriers: [residual, direction, latents], k: 4}
"""


def write_tiny_study(folder: Path) -> Path:
    """Write the model, the pairs and the study file; returns the study file."""
    from emovec_sae.testing import tiny_folder

    tiny_folder(folder / "model")
    pairs = [
        {"id": "a", "source": "He was sad and", "target": "He was mad and", "source_answer": "x", "target_answer": "y"},
        {"id": "b", "source": "The red one is", "target": "The bed one is", "source_answer": "p", "target_answer": "q"},
    ]
    labels = {"family": "f", "source_emotion": "sad", "target_emotion": "angry"}
    (folder / "pairs.jsonl").write_text("\n".join(json.dumps({**one, **labels}) for one in pairs))
    (folder / "study.yaml").write_text(STUDY)
    return folder / "study.yaml"
