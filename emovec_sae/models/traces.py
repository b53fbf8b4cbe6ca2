"""The trace that reads sites: one body for a model here and one elsewhere.

A remote trace is sent as the source of its body with the names that it mentions, so the body mentions nothing of ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emovec_sae.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor


def read_places(
    net: Any, inputs: Mapping[str, Tensor], places: Sequence[tuple[str, Any, bool]], *, remote: bool | str
) -> dict[str, Tensor]:
    """Run a model up to the last of some modules and read them.

    Parameters
    ----------
    net
        The model under nnsight.
    inputs
        Keyword inputs of its forward.
    places
        (name, envoy, whether its input is meant), in the order in which they run.
    remote
        As `Model.remote`.

    Returns
    -------
    dict
        Name -> (batch, sequence, d_model).

    Raises
    ------
    ModelError
        If the service cannot be reached, refuses, or fails.
    """
    import nnsight
    import torch

    failures: tuple[type[Exception], ...] = ()
    if remote:
        from nnsight.intervention.backends.remote import RemoteError
        from websocket import WebSocketException

        failures = (RemoteError, WebSocketException, OSError)
    try:
        with torch.no_grad(), net.trace(dict(inputs), remote=remote) as tracer:
            kept = nnsight.save({})
            for name, envoy, before in places:
                value = envoy.input if before else envoy.output
                kept[name] = (value[0] if isinstance(value, tuple) else value).detach()
            tracer.stop()
    except failures as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(f"NDIF did not run the pass: {reason}") from error
    return dict(kept)
