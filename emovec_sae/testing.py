"""For tests, yours and ours: tiny random models of an architecture, and corpora small enough to run in a moment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.corpora.frame import Corpus
from emovec_sae.errors import ConfigError, suggest

if TYPE_CHECKING:
    from emovec_sae.models.model import Model

_SPECIAL = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0}
"""As `tiny_tokenizer` has them."""
_SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
          "vocab_size": 160, "max_position_embeddings": 256, **_SPECIAL}  # fmt: skip
_GROUPED = {**_SMALL, "num_key_value_heads": 2, "head_dim": 8}
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", _GROUPED),
    "qwen2": ("Qwen2Config", {**_SMALL, "num_key_value_heads": 2}),
    "qwen3": ("Qwen3Config", _GROUPED),
    "mistral": ("MistralConfig", _GROUPED),
    "gemma2": ("Gemma2Config", {**_GROUPED, "query_pre_attn_scalar": 8}),
    "gemma3": ("Gemma3TextConfig", {**_GROUPED, "query_pre_attn_scalar": 8}),
    "gpt2": (
        "GPT2Config",
        {"n_embd": 32, "n_layer": 3, "n_head": 4, "vocab_size": 160, "n_positions": 256, **_SPECIAL},
    ),
    "gpt_neox": ("GPTNeoXConfig", _SMALL),
    "phi3": ("Phi3Config", {**_SMALL, "num_key_value_heads": 2}),
    "olmo2": ("Olmo2Config", {**_SMALL, "num_key_value_heads": 2}),
    "mixtral": ("MixtralConfig", {**_GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "qwen3_moe": (
        "Qwen3MoeConfig",
        {**_GROUPED, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24},
    ),
}
"""Tiny configurations: name -> (transformers config class, its arguments)."""


def tiny_tokenizer() -> Any:
    """A tokenizer of single bytes with a few special tokens, made in memory; it adds no first token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = ["<pad>", "<eos>", *[chr(code) for code in range(32, 127)]]
    vocabulary = {name: index for index, name in enumerate(dict.fromkeys([*names, "Ġ", *alphabet]))}
    kept = {name: index for name, index in vocabulary.items() if index < 158}
    raw = Tokenizer(models.BPE(vocab=kept, merges=[], unk_token="<eos>"))  # noqa: S106  a token's name, not a secret
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>")  # noqa: S106


def tiny_model(architecture: str = "llama", *, seed: int = 0, dtype: str = "float32", context: int = 256) -> Model:
    """A tiny random causal language model of a common architecture, under nnsight.

    Parameters
    ----------
    architecture
        A key of `ARCHITECTURES`.
    seed
        Of its weights.
    dtype
        ``float32`` or ``bfloat16``.
    context
        Longest text in tokens (characters, with its tokenizer).
    """
    import torch
    import transformers

    from emovec_sae.models.load import wrap

    if architecture not in ARCHITECTURES:
        raise ConfigError(
            f"unknown architecture '{architecture}'{suggest(architecture, ARCHITECTURES)}; "
            f"there are {', '.join(ARCHITECTURES)}"
        )
    name, sizes = ARCHITECTURES[architecture]
    length = "n_positions" if "n_positions" in sizes else "max_position_embeddings"
    options = {**sizes, length: context}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = transformers.AutoModelForCausalLM.from_config(getattr(transformers, name)(**options))
    for part in module.modules():  # the default spread of 0.02 makes a tiny model nearly linear
        if isinstance(part, torch.nn.Linear | torch.nn.Embedding | transformers.pytorch_utils.Conv1D):
            part.weight.data *= 5
    return wrap(module.to(getattr(torch, dtype)), tiny_tokenizer(), name=f"tiny-{architecture}")


def tiny_folder(path: str | Path, architecture: str = "llama", *, seed: int = 0) -> Path:
    """Save a tiny model in Hugging Face format, so that it is loaded like any other; its context is 2,048 tokens."""
    folder = Path(path)
    model = tiny_model(architecture, seed=seed, context=2048)
    module: Any = model.module
    module.save_pretrained(str(folder))
    model.tokens.tokenizer.save_pretrained(str(folder))
    return folder


def tiny_corpus(*, emotions: int = 3, groups: int = 3, repeats: int = 1, seed: int = 0) -> Corpus:
    """Short made-up texts with emotions and groups; each emotion has a word of its own that recurs."""
    random = np.random.default_rng(seed)
    words = ["stone", "river", "lamp", "paper", "window", "garden", "letter", "table"]
    rows = []
    for emotion in range(emotions):
        for group in range(groups):
            for repeat in range(repeats):
                body = " ".join(random.choice(words, 6 + int(random.integers(4))))
                rows.append(
                    {
                        "id": f"e{emotion}.g{group}.{repeat}",
                        "text": f"{'xyzuvw'[emotion % 6] * 4} {body}.",
                        "emotion": f"e{emotion}",
                        "group": f"g{group}",
                    }
                )
    return Corpus.from_frame(pd.DataFrame(rows), name="tiny")


def tiny_store(path: str | Path, *, model: Model | None = None, corpus: Corpus | None = None) -> Any:
    """Record a tiny corpus on a tiny model: every pool at ``resid_post.1``, the mean at ``resid_post.2``."""
    from emovec_sae.recording.record import record

    sites = {"resid_post.1": ("mean", "last", "none"), "resid_post.2": ("mean",)}
    return record(model or tiny_model(), corpus or tiny_corpus(), sites=sites, out=path, offset=5)
