"""Large models: spread over devices, memory and disk, or quantised."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from emovec_sae.errors import ModelError

if TYPE_CHECKING:
    import torch

QUANTIZED = ("8bit", "4bit")


def placement(
    *,
    device: torch.device,
    device_map: str | Mapping[str, str | int] | None,
    quantize: str | None,
    dtype: torch.dtype,
) -> dict[str, Any]:
    """Arguments for ``from_pretrained``; empty for a model that is loaded whole and moved to `device`.

    Raises
    ------
    ModelError
        If the quantisation is unknown or bitsandbytes is not installed.
    """
    found: dict[str, Any] = {}
    if device_map is not None:
        found["device_map"] = device_map if isinstance(device_map, str) else dict(device_map)
        if not isinstance(device_map, str) and "disk" in device_map.values():
            found["offload_folder"] = tempfile.mkdtemp(prefix="emovec-offload-")
    if quantize is not None:
        found["quantization_config"] = _quantization(quantize, dtype)
        found.setdefault("device_map", {"": str(device)})  # a quantised module cannot be moved later
    return found


def _quantization(quantize: str, dtype: torch.dtype) -> Any:
    from transformers import BitsAndBytesConfig

    if quantize not in QUANTIZED:
        raise ModelError(f"unknown quantisation '{quantize}'; choose {' or '.join(QUANTIZED)}")
    if find_spec("bitsandbytes") is None:
        raise ModelError("quantised models need bitsandbytes; run: pip install 'emovec_sae[quantize]'")
    if quantize == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
