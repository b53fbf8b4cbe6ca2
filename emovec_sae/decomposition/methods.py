"""The methods by which a direction is written as latents, and the coefficients that each gives to some of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from emovec_sae.decomposition.pursuits import PURSUITS
from emovec_sae.decomposition.pursuits.pursuit import least_squares
from emovec_sae.errors import ConfigError, suggest

OWN = {
    "contrast": "exact and signed: differences of mean latents, and the error that is left; needs the texts' tokens",
    "attribution": "latents by their part in a score of the emotion; needs the model",
    "encode": "the encoder on the direction; refused unless asked for twice",
}
"""Methods that are no pursuits."""
METHODS = {"contrast": OWN["contrast"], **{name: one.says for name, one in PURSUITS.items()}, **OWN}
"""Every method with a line for people."""
FIXED = ("contrast", "encode")
"""Methods whose coefficient of a latent does not depend on which others are kept."""
OPTIONS = {
    "contrast": ("weights", "dense", "permutations"),
    "attribution": ("score", "steps", "baseline", "neutral"),
}
"""Further options of a method."""


def check_method(method: str) -> None:
    """Refuse a method that there is not.

    Raises
    ------
    ConfigError
        If there is none of that name; the nearest is named.
    """
    if method not in METHODS:
        raise ConfigError(f"unknown method '{method}'{suggest(method, METHODS)}; there are {', '.join(METHODS)}")


def check_options(method: str, **given: Mapping[str, Any] | None) -> dict[str, Any]:
    """The further options of a method, which are given by the names of `OPTIONS`.

    Raises
    ------
    ConfigError
        If options of another method are given, or the method has none of that name.
    """
    for name, options in given.items():
        for option in options or {}:
            if name != method:
                raise ConfigError(f"{option} is an option of the method '{name}', the method is '{method}'")
            if option not in OPTIONS[name]:
                known = OPTIONS[name]
                raise ConfigError(
                    f"'{name}' takes no option '{option}'{suggest(option, known)}; it takes {', '.join(known)}"
                )
    return dict(given.get(method) or {})


def coefficients_of(method: str, rows: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The method's own coefficients of a target (d,) on some of its latents' rows (k, d), in their order; float64.

    Least squares for `omp`, `lasso`, `cosine` and `attribution`, non-negative ones for `nnls`, the same gradient steps
    for `gp`; of `FIXED` methods coefficients are not solved for.
    """
    lengths = np.linalg.norm(rows, axis=1).astype(float)
    unit = rows / np.maximum(lengths, 1e-6)[:, None]
    solve = PURSUITS[method].refit if method in PURSUITS else least_squares
    return solve(unit, target) / np.maximum(lengths, 1e-6)
