"""Turn a GGUF file into a safetensors folder, once: reading GGUF takes 15 to 30 s, the folder well under one."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from emovec_sae.errors import ModelError
from emovec_sae.models.embedded import cache_dir
from emovec_sae.models.quiet import quiet
from emovec_sae.provenance import collect, write_json

_READY = "emovec.json"
"""Written last inside a converted folder: it says where the weights come from."""


def converted(parts: Path | Sequence[Path], *, digest: str | None = None) -> Path:
    """Return the safetensors folder of a GGUF file, converting it if no process has done so yet.

    The folder's name holds the file's SHA-256, so another file is another folder. A lock lets processes race, and
    the folder is renamed into place whole.

    Parameters
    ----------
    parts
        The ``.gguf`` file, or its parts in order.
    digest
        The SHA-256 that the whole file must have; None takes the file as it is.

    Raises
    ------
    ModelError
        If the file is missing, is not the one expected, or cannot be read.
    """
    paths = [parts] if isinstance(parts, Path) else list(parts)
    for path in paths:
        if not path.is_file():
            raise ModelError(f"there is no GGUF file at {path}")
    found = _digest(paths)
    if digest is not None and found != digest:
        raise ModelError(f"{paths[0]} is not the expected file: its sha256 is {found}, not {digest}; install it again")
    target = cache_dir() / "models" / f"{paths[0].name.partition('.gguf')[0]}-{found[:12]}"
    if (target / _READY).is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(str(target) + ".lock"):
        for left in target.parent.glob(f".{target.name}.*"):  # of a process that was killed while it converted
            shutil.rmtree(left)
        if not (target / _READY).is_file():
            _convert(paths, target, found)
    return target


def _digest(paths: Sequence[Path]) -> str:
    """SHA-256 of the parts one after another."""
    whole = hashlib.sha256()
    for path in paths:
        with path.open("rb") as part:
            while block := part.read(1 << 20):
                whole.update(block)
    return whole.hexdigest()


def _convert(paths: Sequence[Path], target: Path, digest: str) -> None:
    part = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        whole = paths[0]
        if len(paths) > 1:
            whole = part / "whole.gguf"
            with whole.open("wb") as file:
                for path in paths:
                    with path.open("rb") as piece:
                        shutil.copyfileobj(piece, file)
        try:
            with quiet():
                _write(whole, part)
        except (OSError, ValueError, KeyError, NotImplementedError, RuntimeError) as error:
            raise ModelError(f"cannot read {paths[0]} as a causal language model: {_first_line(error)}") from error
        if len(paths) > 1:
            whole.unlink()
        write_json(part / _READY, collect(source=[path.name for path in paths], sha256=digest))
        part.chmod(0o755)
        for file in part.iterdir():
            file.chmod(0o644)
        if target.exists():  # a folder without its last file: left by an older, interrupted tool
            shutil.rmtree(target)
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write(path: Path, folder: Path) -> None:
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    tokenizer = AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)
    model = AutoModelForCausalLM.from_pretrained(
        str(path.parent), gguf_file=path.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    tokenizer.save_pretrained(str(folder))
    # save_pretrained refuses a model that came from GGUF, so the state and a clean config are saved here; in float32,
    # since 4-bit blocks with a scale and a minimum do not fit into bfloat16 without rounding
    state: dict[str, Any] = model.state_dict()
    if model.config.tie_word_embeddings:
        state = {name: value for name, value in state.items() if not name.startswith("lm_head.")}
    save_file(
        {name: value.contiguous() for name, value in state.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    config = model.config
    config.__dict__.pop("quantization_config", None)
    config.dtype = torch.float32
    config.architectures = [type(model).__name__]
    (folder / "config.json").write_text(config.to_json_string(use_diff=False) + "\n", encoding="utf-8")
    model.generation_config.save_pretrained(str(folder))


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
