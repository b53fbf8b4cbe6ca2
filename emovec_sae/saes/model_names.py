"""One spelling for the many names of a model: Hugging Face, TransformerLens, Neuronpedia, the embedded ones, a path."""

from __future__ import annotations

import re

_SAME = {
    "gpt-2-small": "gpt-2",
    "mistral-7b-v0.1": "mistral-7b",
}
"""TransformerLens's short names of models that Hugging Face calls otherwise, after the rules below."""


def same_spelling(name: str) -> str:
    """The one spelling of a model's name.

    Owner and folders go (``google/gemma-3-1b-pt``, ``checkpoints/gemma-3-1b-pt``), a GGUF file's ending goes, letters
    are small, a family and its version are joined by a dash (Neuronpedia's ``llama3.1-8b-it``), ``meta-`` goes,
    ``-instruct`` is ``-it`` and ``-pt`` (Google's mark of a base model) goes. A base model of Qwen 3 keeps ``-base``:
    there the plain name is the chat model.

    Parameters
    ----------
    name
        Any spelling.
    """
    found = name.rstrip("/").rsplit("/", 1)[-1].lower().removesuffix(".gguf").removeprefix("meta-")
    found = re.sub(r"^(llama|qwen|gemma|gpt)(?=\d)", r"\1-", found)
    found = re.sub(r"-instruct$", "-it", found).removesuffix("-pt")
    return _SAME.get(found, found)
