"""Load a model: an embedded name, a folder, a GGUF file or a Hugging Face id."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from emovec_sae.errors import ModelError, suggest
from emovec_sae.models.blocks import resolve
from emovec_sae.models.embedded import EMBEDDED
from emovec_sae.models.gguf import converted
from emovec_sae.models.model import Model
from emovec_sae.models.placement import placement
from emovec_sae.models.quiet import quiet
from emovec_sae.models.remote import load_remote
from emovec_sae.models.source import Source
from emovec_sae.models.tokens import Tokens

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

DTYPES = ("auto", "bfloat16", "float32", "float16")


def load_model(
    name: str | Path,
    *,
    device: str = "auto",
    dtype: str = "auto",
    device_map: str | Mapping[str, str | int] | None = None,
    quantize: str | None = None,
    modules: Mapping[str, str] | None = None,
    remote: bool | str = False,
    check: bool = True,
) -> Model:
    """Load a causal language model and check that its sites can be read and written.

    Parameters
    ----------
    name
        An embedded name (``smollm2-135m-instruct``), a folder in Hugging Face format, a ``.gguf`` file, or a Hugging
        Face id. Code that a repository brings is never run.
    device
        ``cpu``, ``cuda``, ``cuda:1``, ``mps``; ``auto`` takes a GPU where there is one.
    dtype
        ``bfloat16``, ``float32`` or ``float16``; ``auto`` takes bfloat16 where the processor computes in it.
    device_map
        ``auto`` spreads the model over the GPUs, memory and disk of this machine (Accelerate); or a device for each
        module. In place of `device`.
    quantize
        ``8bit`` or ``4bit`` (nf4) by bitsandbytes, the extra ``quantize``. Directions move with it: a store refuses to
        mix precisions.
    modules
        Where the parts of an unusual architecture are, see `resolve`: ``{"blocks": "net.layers"}``.
    remote
        Keep the weights elsewhere: True sends passes to NDIF (only recording can); ``local`` rehearses that here.
    check
        Read every site, and write to it, on a few tokens before the model is returned.

    Returns
    -------
    Model
        Ready for ``record``, ``generate``, ``patch`` and the rest.

    Raises
    ------
    ModelError
        If there is no such model, it is no causal language model, or a site fails its check.
    """
    from emovec_sae.models.validate import check_sites

    if remote:
        return load_remote(_folder(str(name)), name=str(name), rehearse=remote == "local", modules=modules)
    place = choose_device(device)
    precision = choose_dtype(dtype, place)
    placed = placement(device=place, device_map=device_map, quantize=quantize, dtype=precision)
    source = Source(str(name), str(place), str(precision).removeprefix("torch."), device_map, quantize, modules)
    module, tokenizer = _read(_folder(str(name)), str(name), precision, placed)
    if not placed:
        module = module.to(place)
    model = replace(wrap(module, tokenizer, name=str(name), modules=modules), source=source)
    if check:
        check_sites(model)
    log.info("%s: %d blocks, d_model %d, %s on %s", name, model.n_layers, model.d_model, model.dtype, place)
    return model


def wrap(module: Any, tokenizer: Any, *, name: str, modules: Mapping[str, str] | None = None) -> Model:
    """Put a Hugging Face module and its tokenizer under nnsight (tests and fine-tuned models in memory use this).

    Parameters
    ----------
    module, tokenizer
        As transformers gives them.
    name
        What the model is called in artefacts.
    modules
        Where the parts of an unusual architecture are, see `resolve`.
    """
    from nnsight import TransformersModel

    module.eval().requires_grad_(requires_grad=False)
    tokens = Tokens(tokenizer)
    with quiet():  # a class that transformers does not list would be told with a list of all that it does
        net = TransformersModel(module, task="text-generation", tokenizer=tokenizer)
    return Model(name=name, module=module, net=net, tokens=tokens, blocks=resolve(module, modules))


def choose_device(device: str) -> torch.device:
    """Return the device: ``auto`` takes CUDA, then Apple's MPS, then the CPU.

    Raises
    ------
    ModelError
        If the device is not on this machine.
    """
    import torch

    if device == "auto":
        return torch.device(
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"device '{device}' is not available here; use auto, cpu or cuda") from error
    return place


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """Return the precision: ``auto`` takes bfloat16 where it is native (3 to 4 times faster than float32).

    Raises
    ------
    ModelError
        If the name is unknown.
    """
    import torch

    if dtype not in DTYPES:
        raise ModelError(f"unknown dtype '{dtype}'{suggest(dtype, DTYPES)}; dtypes are {', '.join(DTYPES)}")
    if dtype != "auto":
        return getattr(torch, dtype)
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported()
    elif device.type == "cpu":
        found = torch.cpu.get_capabilities()
        native = bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    else:
        native = False
    return torch.bfloat16 if native else torch.float32


def _folder(name: str) -> str:
    """Folder or Hugging Face id to load from."""
    if name in EMBEDDED:
        model = EMBEDDED[name]
        return str(converted(model.locate(), digest=model.sha256))
    path = Path(name).expanduser()
    if path.suffix == ".gguf":
        return str(converted(path))
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(f"the folder {path} holds no model: it has no config.json")
        return str(path)
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise ModelError(f"there is no model folder or .gguf file at {name}")
    return name


def _read(folder: str, name: str, dtype: torch.dtype, placed: Mapping[str, Any]) -> tuple[Any, Any]:
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    here = Path(folder).is_dir()
    # a hub that cannot be reached is asked for minutes, with a line each time; look first
    options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": here or not _hub_answers()}
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, **options)
            found: Any = AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, output_loading_info=True, **options, **placed
            )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        if here or isinstance(error, RuntimeError | SafetensorError):
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ModelError(f"cannot load a causal language model from {folder}: {reason}") from error
        raise ModelError(
            f"unknown model '{name}'{suggest(name, EMBEDDED)}: neither an embedded model ({', '.join(EMBEDDED)}), nor "
            "a folder, nor a .gguf file, nor a Hugging Face id that can be reached or is in the local cache"
        ) from error
    module, loading = found
    lacking = sorted(loading["missing_keys"])
    if lacking:  # transformers fills them with random numbers
        raise ModelError(
            f"cannot load a causal language model from {folder}: {len(lacking)} of its weights are missing, such as "
            f"{lacking[0]}"
        )
    return module, tokenizer


def _hub_answers() -> bool:
    """Whether the Hugging Face hub can be connected to (or a proxy or the offline switch says what to do)."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    if getproxies().get("https"):
        return True
    place = urlsplit(constants.ENDPOINT)
    try:
        with socket.create_connection((place.hostname, place.port or 443), timeout=5):
            return True
    except OSError:
        return False
