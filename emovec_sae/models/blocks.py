"""Find a model's blocks, attention, MLP, last norm and head by their names; say what was looked for if it fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emovec_sae.errors import ModelError, suggest
from emovec_sae.sites import Site

if TYPE_CHECKING:
    from torch import nn

BLOCKS = ("model.layers", "transformer.h", "gpt_neox.layers", "model.language_model.layers",
          "language_model.model.layers", "model.decoder.layers", "transformer.blocks", "backbone.layers")  # fmt: skip
"""Where the list of blocks is looked for, in this order; failing all, the longest list of modules is taken."""
ATTENTION = ("self_attn", "attn", "attention", "self_attention", "linear_attn", "mixer")
MLP = ("mlp", "feed_forward", "block_sparse_moe", "ffn", "moe")
PARTS = ("blocks", "attention", "mlp", "norm")
HOW = "name it: modules={'blocks': 'path'}, or --module blocks=path"
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


def resolve(model: nn.Module, modules: Mapping[str, str] | None = None) -> Blocks:
    """Find the blocks of a causal language model.

    Parameters
    ----------
    model
        The Hugging Face module.
    modules
        Names that are not to be looked for: ``blocks`` and ``norm`` as dotted paths in the model, ``attention`` and
        ``mlp`` as paths below a block.

    Raises
    ------
    ModelError
        If no list of blocks, or no norm behind it, is found, or a name that was given does not exist.
    """
    named = dict(modules or {})
    unknown = [name for name in named if name not in PARTS]
    if unknown:
        raise ModelError(f"unknown part '{unknown[0]}'{suggest(unknown[0], PARTS)}; parts are {', '.join(PARTS)}")
    where = _given(model, named["blocks"], "blocks") if "blocks" in named else _find_blocks(model)
    layers: Any = model.get_submodule(where)
    if not len(layers):
        raise ModelError(f"'{where}' holds no blocks; name a list of modules: {HOW}")
    children = dict(layers[0].named_children())
    attention = next((name for name in ATTENTION if name in children), None)
    mlp = next((name for name in MLP if name in children), None)
    if "post_feedforward_layernorm" in children:  # Gemma 2 and 3, OLMo 2: a norm stands between the part and the stream
        attention = "post_attention_layernorm"
        mlp = "post_feedforward_layernorm"
    attention = _given(layers[0], named["attention"], "attention") if "attention" in named else attention
    mlp = _given(layers[0], named["mlp"], "mlp") if "mlp" in named else mlp
    norm = _given(model, named["norm"], "norm") if "norm" in named else _find_norm(model, where)
    paths = tuple(f"{where}.{index}" for index in range(len(layers)))
    return Blocks(layers=paths, attention=attention, mlp=mlp, norm=norm)


def _given(model: nn.Module, path: str, part: str) -> str:
    """A path that a person gave, if it exists and is of the right kind."""
    from torch import nn

    try:
        found = model.get_submodule(path)
    except AttributeError as error:
        known = ", ".join(dict(model.named_children()))
        raise ModelError(f"{type(model).__name__} has no module '{path}' for {part}; below it are {known}") from error
    if part == "blocks" and not isinstance(found, nn.ModuleList):
        raise ModelError(f"'{path}' is {type(found).__name__}, not a list of blocks; {HOW}")
    return path


def _find_norm(model: nn.Module, where: str) -> str:
    parent = where.rpartition(".")[0]
    around = dict(model.get_submodule(parent).named_children())
    norm = next((name for name in NORM if name in around), None)
    if norm is None:
        raise ModelError(
            f"no norm after the blocks '{where}' was found; looked for {', '.join(NORM)} in '{parent}', where there "
            f"are {', '.join(around)}; name it: modules={{'norm': 'path'}}, or --module norm=path"
        )
    return f"{parent}.{norm}" if parent else norm


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
        there = ", ".join(lists) or "no list of modules at all"
        raise ModelError(
            f"no blocks were found in {type(model).__name__}; looked for {', '.join(BLOCKS)}, and for lists whose "
            f"modules have {', '.join(MLP)}; there are {there}; {HOW}"
        )
    return max(deep, key=lambda name: len(deep[name]))
