"""The number of active latents of a finished SAE, beside what was asked."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from emovec_sae.saes.sinks import without_sinks
from emovec_sae.saes.training.stream import shuffled

if TYPE_CHECKING:
    from emovec_sae.saes.coder import SparseCoder
    from emovec_sae.store.site_view import SiteActivations

log = logging.getLogger(__name__)

MEASURED = 8192
"""Tokens on which a finished SAE is measured."""

TOLERANCE = 0.1
"""Share by which the measured number of active latents may miss what was asked before it is said aloud."""


def measure(
    coder: SparseCoder,
    sources: Sequence[SiteActivations],
    *,
    asked: float | None,
    on: str,
    name: str,
    seed: int,
) -> dict[str, Any]:
    """Active latents and explained variance of the saved SAE on tokens as they were recorded.

    Parameters
    ----------
    coder
        The SAE, loaded from its folder.
    sources
        Where the tokens come from.
    asked
        Active latents that were asked for; None where a penalty decides.
    on
        What the tokens are: held-out or training ones.
    name
        How messages call the SAE.
    seed
        Of the draw.

    Returns
    -------
    dict
        ``asked``, ``measured``, ``ratio`` (measured by asked), ``explained_variance``, ``dead_share``, ``tokens``,
        ``on``.
    """
    count = min(MEASURED, sum(source.count_tokens() for source in sources))
    values = without_sinks(next(shuffled(sources, batch=count, seed=seed)), coder.facts["training"]["sink_limit"])
    active = error = 0.0
    fired = np.zeros(coder.d_sae, dtype=bool)
    for start in range(0, len(values), coder.rows_at_once()):
        latents, left = coder.split(values[start : start + coder.rows_at_once()])
        fires = latents != 0
        active += float(fires.sum())
        fired |= fires.any(0).cpu().numpy()
        error += float(left.double().square().sum())
    wide = values.astype(np.float64)
    spread = float(np.square(wide - wide.mean(0)).sum())
    found = {
        "asked": asked,
        "measured": active / len(values),
        "ratio": None if asked is None else active / len(values) / asked,
        "explained_variance": 1 - error / spread,
        "dead_share": float((~fired).mean()),
        "tokens": len(values),
        "on": on,
    }
    _warn(name, found)
    return found


def _warn(name: str, found: Mapping[str, Any]) -> None:
    if found["ratio"] is not None and abs(found["ratio"] - 1) > TOLERANCE:
        log.warning(
            "SAE '%s' has %.1f active latents a token on %s tokens, %g were asked; train on more tokens, or read its "
            "numbers at the l0 that it has",
            name, found["measured"], found["on"], found["asked"],
        )  # fmt: skip
