"""Load the model that a verb names, and show what was chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emovec_sae.cli.options import Loading
from emovec_sae.cli.output import say
from emovec_sae.errors import ConfigError

if TYPE_CHECKING:
    from emovec_sae.models.model import Model


def open_model(name: str, loading: Loading, *, remote: bool = False) -> Model:
    """Load a model and say its size, precision and device on standard error.

    Raises
    ------
    ConfigError
        If an option --module is not written PART=PATH.
    """
    from emovec_sae.models.load import load_model

    parts = [one.partition("=") for one in loading.module]
    for part, sign, path in parts:
        if not (part and sign and path):
            raise ConfigError(f"cannot read --module {part}{sign}{path}; write PART=PATH, such as blocks=net.layers")
    model = load_model(
        name,
        device=loading.device,
        dtype=loading.dtype,
        device_map=loading.device_map,
        quantize=loading.quantize,
        modules={part: path for part, _, path in parts} or None,
        remote=remote,
    )
    held = model.quantization or model.dtype
    place = "on NDIF" if remote else f"on {', '.join(sorted(set(model.placement().values())))}"
    say(f"{name}: {model.n_layers} blocks, d_model {model.d_model}, {held} {place}")
    return model
