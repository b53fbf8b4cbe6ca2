"""Load the model that a verb names, and show what was chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emovec_sae.cli.output import say

if TYPE_CHECKING:
    from emovec_sae.models.model import Model


def open_model(name: str, *, device: str, dtype: str) -> Model:
    """Load a model and say its size, precision and device on standard error."""
    from emovec_sae.models.load import load_model

    model = load_model(name, device=device, dtype=dtype)
    say(f"{name}: {model.n_layers} blocks, d_model {model.d_model}, {model.dtype} on {model.device}")
    return model
