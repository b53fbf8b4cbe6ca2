"""Options that many verbs share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Parameter

Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object on the last line.")]
ModelName = Annotated[str, Parameter(name="--model", help="Embedded name, folder, .gguf file or Hugging Face id.")]


@Parameter(name="*")
@dataclass(frozen=True)
class Loading:
    """How a model is loaded.

    Attributes
    ----------
    device
        auto, cpu, cuda or mps.
    dtype
        auto, bfloat16, float32 or float16.
    device_map
        auto spreads a large model over the GPUs, memory and disk of this machine.
    quantize
        8bit or 4bit, by bitsandbytes.
    module
        Where a part of an unusual architecture is, such as blocks=net.layers; parts are blocks, attention, mlp, norm.
    """

    device: str = "auto"
    dtype: str = "auto"
    device_map: Literal["auto"] | None = None
    quantize: Literal["8bit", "4bit"] | None = None
    module: Annotated[tuple[str, ...], Parameter(negative="")] = ()


USUAL = Loading()
