"""For tests, yours and ours: tiny random models of an architecture, and corpora small enough to run in a moment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.corpora.frame import Corpus
from emovec_sae.errors import ConfigError, suggest

if TYPE_CHECKING:
    from emovec_sae.models.model import Model
    from emovec_sae.saes.coder import SparseCoder

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


@dataclass(frozen=True, eq=False)
class PlantedCodes:
    """Residuals made of latents whose signed part in every emotion is known, and an SAE that reads these latents.

    Attributes
    ----------
    coder
        The SAE: on residuals without noise it gives the planted latents.
    texts
        Token residuals of each text, (tokens, d) each.
    frame
        One row a text: id, text, emotion, group, n_tokens.
    codes
        What each latent adds to each emotion, the mean over emotions taken out, shape (emotions, d_sae).
    own
        Latents that were planted for each emotion, shape (emotions, k).
    dense
        Latents that fire on every token whatever the emotion.
    """

    coder: SparseCoder
    texts: list[np.ndarray]
    frame: pd.DataFrame
    codes: np.ndarray
    own: np.ndarray
    dense: np.ndarray


def planted_codes(
    *,
    emotions: int = 6,
    groups: int = 6,
    d: int = 128,
    d_sae: int = 96,
    k: int = 6,
    tokens: int = 10,
    coherence: float = 0.0,
    dense: int = 0,
    noise: float = 0.0,
    absorbed: bool = False,
    bias: float = 1.0,
    seed: int = 0,
) -> PlantedCodes:
    """Plant signed codes: each emotion raises two thirds of its own k latents and lowers the others.

    What is lowered fires everywhere else, so that no latent is ever negative. Rows are independent (d is at least
    d_sae) and the encoder is their dual basis: it reads every latent exactly, however much the rows are alike.

    Parameters
    ----------
    emotions, groups
        How many; one text for each pair.
    d, d_sae, k, tokens
        Width, latents, latents of each emotion, tokens of a text (the first two are not to be pooled).
    coherence
        Cosine of each planted row with a twin that is planted nowhere, and the common lean of all rows.
    dense
        How many latents fire strongly on every token, at a level of the group.
    noise
        Standard deviation of what no latent explains, in each dimension.
    absorbed
        Whether the first latent of the last emotion (the parent) belongs to the one before it as well, where a child
        whose row holds the parent's fires instead.
    bias
        Standard deviation of the entries of the SAE's bias.
    seed
        Of everything.

    Raises
    ------
    ConfigError
        If there are not latents enough, or more than d.
    """
    from emovec_sae.saes.jump_relu import jump_relu

    wanted = emotions * k * (2 if coherence else 1) + dense + absorbed
    if not wanted <= d_sae <= d:
        raise ConfigError(f"{wanted} latents are to be planted: d_sae is {d_sae}, d is {d}; d_sae must lie between")
    rng = np.random.default_rng(seed)
    own = np.arange(emotions * k).reshape(emotions, k)
    twins = own + emotions * k if coherence else None
    first = emotions * k * (2 if coherence else 1)
    steady = np.arange(first, first + dense)
    rows = _planted_rows(rng, d_sae, d, own=own, twins=twins, coherence=coherence)
    code = np.zeros((emotions, d_sae))
    for e in range(emotions):
        code[e, own[e]] = rng.uniform(0.8, 1.2, k) * np.where(np.arange(k) < -(-2 * k // 3), 1, -1)
    base = np.where((code < 0).any(0), 1.5, 0.0)
    if absorbed:
        parent, child = own[-1, 0], first + dense
        rows[child] = (rows[child] + rows[parent]) / np.linalg.norm(rows[child] + rows[parent])
        code[-2, child] = code[-1, parent]
    offset = bias * rng.standard_normal(d)
    level = rng.uniform(3, 5, (groups, dense))
    texts: list[np.ndarray] = []
    about: list[dict[str, Any]] = []
    for e, g in np.ndindex(emotions, groups):
        latents = (base + code[e]) * rng.uniform(0.8, 1.2, (tokens, d_sae))
        latents[:, steady] = level[g] * rng.uniform(0.9, 1.1, (tokens, dense))
        texts.append((latents @ rows + offset + noise * rng.standard_normal((tokens, d))).astype(np.float32))
        told = {"id": f"e{e}.g{g}", "text": f"text {e} {g}", "emotion": f"e{e}", "group": f"g{g}"}
        about.append({**told, "n_tokens": tokens})
    coder = jump_relu(rows, np.linalg.pinv(rows), offset, threshold=0.25, site="resid_post.2", name="planted")
    return PlantedCodes(coder, texts, pd.DataFrame(about), code - code.mean(0), own, steady)


def _planted_rows(
    rng: np.random.Generator, d_sae: int, d: int, *, own: np.ndarray, twins: np.ndarray | None, coherence: float
) -> np.ndarray:
    """Unit rows (d_sae, d) that lean one way, each of `twins` at a cosine to its planted row."""
    rows = rng.standard_normal((d_sae, d)) / np.sqrt(d)
    rows += np.sqrt(coherence / 10) * rng.standard_normal(d) / np.sqrt(d)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    if twins is not None:
        rows[twins] = coherence * rows[own] + np.sqrt(1 - coherence**2) * rows[twins]
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows
