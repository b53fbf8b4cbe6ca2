"""Options that many verbs share."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object on the last line.")]
Device = Annotated[str, Parameter(help="auto, cpu, cuda or mps.")]
Dtype = Annotated[str, Parameter(help="auto, bfloat16, float32 or float16.")]
ModelName = Annotated[str, Parameter(name="--model", help="Embedded name, folder, .gguf file or Hugging Face id.")]
