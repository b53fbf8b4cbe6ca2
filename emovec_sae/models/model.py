"""Model: a causal language model under nnsight, with its blocks, tokens and head found and checked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from emovec_sae.models.blocks import Blocks
from emovec_sae.models.source import Source
from emovec_sae.models.tokens import Tokens
from emovec_sae.provenance import digest

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_SAMPLE = 2048
"""Values of each parameter that enter the fingerprint."""


@dataclass(frozen=True)
class Model:
    """A loaded causal language model.

    Attributes
    ----------
    name
        The name it was asked for.
    module
        The Hugging Face module.
    net
        The same module wrapped by nnsight.
    tokens
        Its tokenizer with the house rules.
    blocks
        Where its parts are.
    source
        How another process loads the same model; None for a module that was made in memory.
    remote
        Whether its weights are elsewhere, and passes are sent there: False, True (NDIF), or ``local`` (a rehearsal).
    """

    name: str
    module: nn.Module = field(repr=False)
    net: Any = field(repr=False)
    tokens: Tokens = field(repr=False)
    blocks: Blocks = field(repr=False)
    source: Source | None = field(default=None, repr=False)
    remote: bool | str = False

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return len(self.blocks.layers)

    @property
    def config(self) -> Any:
        """The text part of the Hugging Face config."""
        config: Any = self.module.config
        return config.get_text_config() if hasattr(config, "get_text_config") else config

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return int(self.config.hidden_size)

    @property
    def context(self) -> int:
        """Longest sequence in tokens that the model was made for."""
        return int(getattr(self.config, "max_position_embeddings", 0) or 2**31)

    @property
    def device(self) -> torch.device:
        """Device of the embedding: inputs go there."""
        import torch

        found: Any = self.module.get_input_embeddings()  # pyright: ignore[reportCallIssue]
        place = found.weight.device
        return torch.device("cpu") if place.type == "meta" else place  # offloaded, or elsewhere altogether

    @property
    def dtype(self) -> str:
        """Precision of the weights, or of what is not quantised, such as ``bfloat16``."""
        found: Any = self.module.get_input_embeddings()  # pyright: ignore[reportCallIssue]
        return str(found.weight.dtype).removeprefix("torch.")

    @property
    def quantization(self) -> str | None:
        """How the blocks' weights were quantised, such as ``bitsandbytes 4bit nf4``."""
        found: Any = getattr(self.module.config, "quantization_config", None)
        if found is None:
            return None
        facts = found if isinstance(found, dict) else found.to_dict()
        method = str(getattr(facts.get("quant_method"), "value", facts.get("quant_method")))
        bits = {"load_in_8bit": "8bit", "load_in_4bit": f"4bit {facts.get('bnb_4bit_quant_type')}"}
        return " ".join([method, *(name for key, name in bits.items() if facts.get(key))])

    def placement(self) -> dict[str, str]:
        """Device of each part where they differ; belongs to the provenance, not to what decides the values."""
        found: Any = getattr(self.module, "hf_device_map", None)
        return {str(name): str(place) for name, place in found.items()} if found else {"": str(self.device)}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the names, shapes and a sample of every parameter in bfloat16: the same in any precision.

        Quantised weights are others, and have another. Of a model whose weights are elsewhere, it is over the id and
        the config, and begins with ``remote-``.
        """
        import torch

        if self.remote:
            return "remote-" + digest([self.name, self.config.to_dict()])[:25]
        found = hashlib.sha256()
        for name, value in sorted(_parameters(self.module)):
            flat = value.detach().reshape(-1)
            picked = flat[:: max(1, flat.numel() // _SAMPLE)][:_SAMPLE].to("cpu", torch.bfloat16).view(torch.int16)
            found.update(f"{name}{tuple(value.shape)}".encode())
            found.update(picked.numpy().tobytes())
        return found.hexdigest()[:32]

    def describe(self) -> dict[str, Any]:
        """Facts that every artefact made with this model carries."""
        facts = {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "dtype": self.dtype,
            "d_model": self.d_model,
            "n_layers": self.n_layers,
            "architecture": type(self.module).__name__,
        }
        return facts if self.quantization is None else {**facts, "quantization": self.quantization}

    def head(self, hidden: Tensor) -> Tensor:
        """Logits of states taken after the last norm.

        Parameters
        ----------
        hidden
            Shape (..., d_model).

        Returns
        -------
        torch.Tensor
            Shape (..., vocabulary), float32.
        """
        logits = self._output()(
            hidden.contiguous()
        ).float()  # a slice with gaps is far slower: see `.hooks.gathered_head`
        # a pass over the vocabulary costs as much as the head itself: scale only where a model does
        for name, sign in (("logit_scale", 1), ("logits_scaling", -1)):
            scale = getattr(self.config, name, None)
            if scale is not None and scale != 1:
                logits = logits * float(scale) ** sign
        cap = getattr(self.config, "final_logit_softcapping", None)
        return logits if not cap else (logits / cap).tanh() * cap

    def unembedding(self) -> Tensor:
        """Unembedding rows with the last norm's gain folded in, shape (vocabulary, d_model), float32, on the CPU."""
        import torch

        norm: Any = self.module.get_submodule(self.blocks.norm)
        with torch.no_grad():
            if isinstance(norm, torch.nn.LayerNorm) or "LayerNorm" in type(norm).__name__:
                gain = norm.weight
            else:  # an RMS norm of ones is its gain, whether it is kept as w or as 1 + w
                gain = norm(torch.ones(self.d_model, dtype=norm.weight.dtype, device=norm.weight.device))
            return (self._output().weight.float() * gain.float()).cpu()

    def token_strings(self, ids: Any) -> list[str]:
        """Readable text of single tokens."""
        return self.tokens.strings(ids)

    def _output(self) -> Any:
        return self.module.get_output_embeddings()  # pyright: ignore[reportCallIssue]


def _parameters(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every parameter with its values; what was offloaded is brought in, a module at a time."""
    if all(value.device.type != "meta" for value in module.parameters()):
        yield from module.named_parameters()
        return
    from accelerate.utils import align_module_device

    names = {name for name, _ in module.named_parameters()}  # tied weights stand once
    for path, part in module.named_modules():
        with align_module_device(part):
            for name, value in part.named_parameters(recurse=False):
                whole = f"{path}.{name}" if path else name
                if whole in names:
                    yield whole, value
