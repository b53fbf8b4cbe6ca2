"""Models whose weights are elsewhere: the same traces, sent to NDIF (the National Deep Inference Fabric)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from emovec_sae.errors import ModelError
from emovec_sae.models.blocks import resolve
from emovec_sae.models.model import Model
from emovec_sae.models.tokens import Tokens


def load_remote(folder: str, *, name: str, rehearse: bool, modules: Mapping[str, str] | None) -> Model:
    """A model without weights: its config and tokenizer, under nnsight on the meta device.

    Parameters
    ----------
    folder
        Folder or Hugging Face id; NDIF knows models by their id.
    name
        What the model is called in artefacts.
    rehearse
        Send nothing: nnsight packs each request, unpacks it without our code, and runs it here.
    modules
        Where the parts of an unusual architecture are.

    Raises
    ------
    ModelError
        If there is no API key, or no such model.
    """
    from nnsight import CONFIG, TransformersModel
    from transformers import AutoTokenizer

    if not rehearse and not (os.environ.get("NDIF_API_KEY") or CONFIG.API.APIKEY):
        raise ModelError("NDIF needs a key: set the environment variable NDIF_API_KEY (login.ndif.us gives one)")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        net: Any = TransformersModel(folder, task="text-generation", tokenizer=tokenizer)
    except (OSError, ValueError, KeyError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"cannot read the config and tokenizer of '{name}': {reason}") from error
    module = net._module
    return Model(
        name=name,
        module=module,
        net=net,
        tokens=Tokens(tokenizer),
        blocks=resolve(module, modules),
        remote="local" if rehearse else True,
    )
