"""Directions as control vectors in GGUF, as llama.cpp and repeng read them.

Both add ``direction.N`` to the output of block N, blocks counted from 0: llama.cpp keeps it at ``(N - 1) * n_embd`` of
a buffer that has no place for block 0, takes it from there for block N, and refuses ``direction.0``
(``common_control_vector_load``, ``llama_adapter_cvec::apply`` and the ``build_cvec`` at the end of each block); repeng
takes ``hidden_states[N + 1]``, which is the same. So resid_post.N is ``direction.N``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from emovec_sae.directions.direction_set import DirectionSet
from emovec_sae.errors import ConfigError, MismatchError
from emovec_sae.exports.folders import refuse_existing
from emovec_sae.interventions.edits import Steer
from emovec_sae.provenance import atomic
from emovec_sae.sites import Site

_HINTS = {"mistral": "llama", "mixtral": "llama"}
"""Where llama.cpp's name of an architecture is not transformers' class in small letters."""


def export_gguf(
    directions: DirectionSet,
    out: str | Path,
    *,
    emotions: Sequence[str] | None = None,
    strength: float = 0.1,
    mix: Mapping[str, float] | None = None,
    model_hint: str | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write control vectors: one file an emotion, or one file with a mixture.

    At the scale 1 of ``llama-cli --control-vector FILE`` a file adds what ``Steer(direction, strength=strength)`` adds,
    at every token; ``--control-vector-scaled FILE 0.5`` adds half of it.

    Parameters
    ----------
    directions
        What was fitted.
    out
        A folder, in which ``EMOTION.gguf`` is written; for one emotion or a mixture also a file that ends in ``.gguf``.
    emotions
        Which; all by default.
    strength
        Length of each vector in units of the mean residual norm at the site.
    mix
        Emotion -> strength, for one file with their sum; in place of `emotions` and `strength`.
    model_hint
        llama.cpp's name of the architecture; by default from the model's class.
    overwrite
        Whether files of these names may be replaced.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    ConfigError
        If an emotion is unknown, the site is none that a control vector can name, a strength is 0 or not finite, or a
        file is there and `overwrite` is not set.
    """
    layer = layer_of(directions.site)
    _check_block(directions, layer)
    hint = model_hint or hint_of(directions)
    target = Path(out)
    if mix is not None:
        if emotions is not None:
            raise ConfigError("give emotions (a file each) or a mixture (one file), not both")
        files = {target if target.suffix == ".gguf" else target / "mix.gguf": dict(mix)}
    else:
        files = _one_each(directions, target, emotions, strength)
    vectors = {path: _sum(directions, parts) for path, parts in files.items()}
    for path in files:
        refuse_existing(path, overwrite=overwrite)
    for path, parts in files.items():
        write_vector(path, vectors[path], layer=layer, hint=hint, about=_about(directions, parts))
    return list(files)


def layer_of(site: Site) -> int:
    """The N of ``direction.N`` that adds to a site.

    Raises
    ------
    ConfigError
        If there is none: the site is inside a block, or before the end of the first one.
    """
    if site.stream not in ("resid_post", "resid_pre"):
        raise ConfigError(
            f"a control vector is added to the output of a block; directions at {site} cannot be exported to gguf, fit "
            f"them at resid_post.{site.layer}"
        )
    layer = site.layer if site.stream == "resid_post" else site.layer - 1
    if layer < 1:
        raise ConfigError(
            f"llama.cpp adds nothing to the output of the first block (direction.0), which {site} would need; fit "
            "directions at resid_post.1 or later"
        )
    return layer


def hint_of(directions: DirectionSet) -> str:
    """llama.cpp's name of the model's architecture, for ``controlvector.model_hint``.

    Raises
    ------
    ConfigError
        If the directions do not say the model's class, or gguf knows no architecture of that name.
    """
    from gguf import MODEL_ARCH_NAMES

    told = str(directions.model.get("architecture") or "")
    name = re.sub(r"(ForCausalLM|ForConditionalGeneration|LMHeadModel|Model)$", "", told).lower()
    name = _HINTS.get(name, name)
    if name not in set(MODEL_ARCH_NAMES.values()):
        raise ConfigError(
            f"gguf knows no architecture for the model class '{told or 'unknown'}'; give llama.cpp's name of it "
            "(model_hint, --model-hint), such as llama"
        )
    return name


def _check_block(directions: DirectionSet, layer: int) -> None:
    layers = directions.model.get("n_layers")
    if layers is not None and layer >= int(layers):
        raise MismatchError(f"{directions.site} is beyond the {layers} blocks of {directions.model.get('name')}")


def _one_each(
    directions: DirectionSet, target: Path, emotions: Sequence[str] | None, strength: float
) -> dict[Path, dict[str, float]]:
    names = list(directions.emotions if emotions is None else dict.fromkeys(emotions))
    if not names:
        raise ConfigError("name at least one emotion to export")
    if target.suffix == ".gguf":
        if len(names) > 1:
            raise ConfigError(
                f"'{target.name}' is one file, and {len(names)} emotions were asked for: a file each goes into a "
                "folder; or name one emotion, or a mixture"
            )
        return {target: {names[0]: strength}}
    files = {target / f"{file_name(name)}.gguf": {name: strength} for name in names}
    if len(files) < len(names):
        raise ConfigError("two emotions would get the same file name; export them one by one")
    return files


def file_name(emotion: str) -> str:
    """An emotion as the name of a file: letters, digits, ``-`` and ``_`` only."""
    return re.sub(r"[^\w-]+", "_", emotion).strip("_") or "emotion"


def _sum(directions: DirectionSet, parts: Mapping[str, float]) -> np.ndarray:
    """What steering with all parts adds, (d_model,) float32."""
    if not parts:
        raise ConfigError("a mixture needs at least one emotion, such as afraid=0.1")
    for name, strength in parts.items():
        if not np.isfinite(strength) or strength == 0:
            raise ConfigError(f"strength of '{name}' is {strength}; a number other than 0 is wanted")
    added = [Steer(directions[name], strength=strength).added for name, strength in parts.items()]
    total = added[0] if len(added) == 1 else np.stack(added).astype(np.float64).sum(axis=0).astype(np.float32)
    if not np.linalg.norm(total) > 0:
        raise ConfigError("the parts of this mixture cancel each other: there is nothing to add")
    return total


def write_vector(path: Path, vector: np.ndarray, *, layer: int, hint: str, about: Mapping[str, str | float]) -> None:
    """Write one control vector, (d_model,) float32, that is added to the output of a block.

    Parameters
    ----------
    path, vector, layer
        The file, what is added, and the block, 1 or more.
    hint
        llama.cpp's name of the architecture.
    about
        Further fields, by their names in the file.
    """
    from gguf import GGUFWriter

    with atomic(path) as part:
        writer = GGUFWriter(part, "controlvector")
        writer.add_string("controlvector.model_hint", hint)
        writer.add_uint32("controlvector.layer_count", 1)
        for name, value in about.items():
            if isinstance(value, str):
                writer.add_string(name, value)
            else:
                writer.add_float32(name, value)
        writer.add_tensor(f"direction.{layer}", np.ascontiguousarray(vector, dtype=np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def _about(directions: DirectionSet, parts: Mapping[str, float]) -> dict[str, str | float]:
    """What a file says of itself."""
    named = ", ".join(f"{name} {strength:g}" for name, strength in parts.items())
    model = str(directions.model.get("name"))
    return {
        "general.name": named,
        "general.description": f"Emotion direction at {directions.site} of {model}; strengths are in units of the mean "
        f"residual norm there, {directions.residual_norm:.6g}",
        "emovec.parts": named,
        "emovec.site": str(directions.site),
        "emovec.residual_norm": directions.residual_norm,
        "emovec.model": model,
        "emovec.model_fingerprint": str(directions.model.get("fingerprint")),
        "emovec.directions": directions.fingerprint,
    }
