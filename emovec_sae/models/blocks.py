"""Find a model's blocks, attention, MLP, last norm and head by their names; say what was looked for if it fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from emovec_sae.errors import ModelError
from emovec_sae.sites import Site

if TYPE_CHECKING:
    from torch import nn

BLOCKS = ("model.layers", "transformer.h", "gpt_neox.layers", "model.language_model.layers",
          "language_model.model.layers", "model.decoder.layers", "transformer.blocks", "backbone.layers")  # fmt: skip
"""Where the list of blocks is looked for, in this order; failing all, the longest list of modules is taken."""
ATTENTION = ("self_attn", "attn", "attention", "self_attention", "linear_attn", "mixer")
MLP = ("mlp", "feed_forward", "block_sparse_moe", "ffn", "moe")
NORM = ("norm", "ln_f", "final_layer_norm", "final_layernorm", "norm_f")


@dataclass(frozen=True)
class Blocks:
    """Dotted module paths of a causal language model.

    Attributes
    ----------
    layers
        Path of each block.
    attention, mlp
        Path, below a block, of the module whose output is added to the stream (a norm behind it, where there is one);
        None where the block has none by a known name.
    norm
        Path of the norm after the last block.
    """

    layers: tuple[str, ...]
    attention: str | None
    mlp: str | None
    norm: str

    def streams(self) -> tuple[str, ...]:
        """Streams that this model has."""
        found = ["resid_pre"]
        found += ["attn_out"] if self.attention else []
        found += ["mlp_out"] if self.mlp else []
        return (*found, "resid_post")

    def path(self, site: Site) -> str:
        """Path of the module that a site reads.

        Raises
        ------
        ModelError
            If the model lacks the layer or the stream.
        """
        if site.layer >= len(self.layers):
            last = len(self.layers) - 1
            raise ModelError(f"site '{site}' does not exist: the model has {last + 1} blocks, 0 to {last}")
        if site.stream not in self.streams():
            raise ModelError(f"site '{site}' cannot be read: this model's streams are {', '.join(self.streams())}")
        below = {"attn_out": self.attention, "mlp_out": self.mlp}.get(site.stream)
        return f"{self.layers[site.layer]}.{below}" if below else self.layers[site.layer]


def resolve(model: nn.Module) -> Blocks:
    """Find the blocks of a causal language model.

    Raises
    ------
    ModelError
        If no list of blocks, or no norm behind it, is found.
    """
    where = _find_blocks(model)
    layers = model.get_submodule(where)
    children = dict(layers[0].named_children())  # pyright: ignore[reportIndexIssue]
    attention = next((name for name in ATTENTION if name in children), None)
    mlp = next((name for name in MLP if name in children), None)
    if "post_feedforward_layernorm" in children:  # Gemma 2 and 3, OLMo 2: a norm stands between the part and the stream
        attention = "post_attention_layernorm"
        mlp = "post_feedforward_layernorm"
    parent = where.rpartition(".")[0]
    around = dict(model.get_submodule(parent).named_children())
    norm = next((name for name in NORM if name in around), None)
    if norm is None:
        raise ModelError(f"no norm after the blocks '{where}' was found; looked for {', '.join(NORM)} in '{parent}'")
    paths = tuple(f"{where}.{index}" for index in range(len(layers)))  # pyright: ignore[reportArgumentType]
    return Blocks(layers=paths, attention=attention, mlp=mlp, norm=f"{parent}.{norm}" if parent else norm)


def _find_blocks(model: nn.Module) -> str:
    from torch import nn

    lists = {
        name: module for name, module in model.named_modules() if isinstance(module, nn.ModuleList) and len(module)
    }
    for name in BLOCKS:
        if name in lists:
            return name
    deep = {
        name: module for name, module in lists.items() if any(part in dict(module[0].named_children()) for part in MLP)
    }
    if not deep:
        raise ModelError(f"no blocks were found in {type(model).__name__}; looked for {', '.join(BLOCKS)}")
    return max(deep, key=lambda name: len(deep[name]))
