"""The architectures whose streams were checked against plain hooks, and models that have them."""

from __future__ import annotations

import json
from importlib.resources import files

import pandas as pd

EXAMPLES = {
    "llama": "meta-llama/Llama-3.1-8B, HuggingFaceTB/SmolLM2-135M-Instruct",
    "qwen2": "Qwen/Qwen2.5-7B-Instruct",
    "qwen3": "Qwen/Qwen3-8B",
    "mistral": "mistralai/Mistral-7B-v0.3",
    "gemma2": "google/gemma-2-2b",
    "gemma3": "google/gemma-3-270m",
    "gpt2": "openai-community/gpt2",
    "gpt_neox": "EleutherAI/pythia-70m-deduped",
    "phi3": "microsoft/Phi-3-mini-4k-instruct",
    "olmo2": "allenai/OLMo-2-1124-7B",
    "mixtral": "mistralai/Mixtral-8x7B-v0.1",
    "qwen3_moe": "Qwen/Qwen3-30B-A3B",
}
"""Hugging Face ids of models of each architecture; the checks ran on tiny random models of the same code."""


def architectures() -> pd.DataFrame:
    """One row an architecture: its class in transformers, the module of each stream, and examples.

    The file beside this one is written by a test that reads each stream and compares it with a plain hook, and writes
    to it and looks for a change of the logits.
    """
    rows = json.loads(files("emovec_sae.models").joinpath("architectures.json").read_text(encoding="utf-8"))
    frame = pd.DataFrame(rows)
    return frame.assign(examples=frame["architecture"].map(EXAMPLES))
