"""Whether an SAE fits these activations well enough to decompose with: measured, refused below a threshold, marked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emovec_sae.errors import MismatchError, UnfitError
from emovec_sae.saes.passport import FIT, passport

if TYPE_CHECKING:
    from emovec_sae.saes.coder import SparseCoder
    from emovec_sae.saes.passport import Passport
    from emovec_sae.store.reader import Activations

QUICK = 20_000
"""Tokens of the passport that is measured where none is given."""


def fitness(
    coder: SparseCoder,
    acts: Activations | None,
    *,
    given: Passport | None = None,
    least: float = FIT,
    override: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """What a decomposition carries of the SAE's passport.

    Parameters
    ----------
    coder
        The SAE.
    acts
        Activations with tokens at its site, on which a quick passport is measured where none is given.
    given
        A passport of this SAE.
    least
        Explained variance that is wanted.
    override
        Go on below it, and mark the result.
    seed
        Of the texts that a quick passport draws.

    Returns
    -------
    dict
        explained_variance, l0, dead_share, dense_share, n_tokens, texts_trained_on, hash (of the passport), source
        ("given" or "quick"), least, unfit (bool). Without activations or passport: source None, unfit None.

    Raises
    ------
    UnfitError
        If the SAE explains less than `least` and `override` is not set.
    MismatchError
        If the passport is one of another SAE.
    """
    if given is None and (acts is None or not acts.has_tokens(coder.site)):
        return {"source": None, "unfit": None, "least": least}
    found = _passport(coder, acts, given, seed)
    if not found.passes(least) and not override:
        raise UnfitError(
            f"SAE '{coder.name}' explains {found.explained_variance.value:.2f} of the variance at {found.site} (on "
            f"{found.n_tokens} tokens), {least:.2f} is wanted for a decomposition; train one on these activations, or "
            "override it (override=True, --override-passport), and the result is marked"
        )
    facts = found.facts()
    kept = ("explained_variance", "l0", "dead_share", "dense_share", "n_tokens", "texts_trained_on")
    return {
        **{name: facts[name] for name in kept},
        "hash": found.hash,
        "source": "quick" if given is None else "given",
        "least": least,
        "unfit": not found.passes(least),
    }


def _passport(coder: SparseCoder, acts: Activations | None, given: Passport | None, seed: int) -> Passport:
    """The passport given, or a quick one."""
    if given is None:
        if acts is None:
            raise MismatchError("a passport is measured on activations; give them")
        return passport(coder, acts, tokens=QUICK, neighbours=0, seed=seed)
    if given.fingerprint != coder.fingerprint:
        raise MismatchError(
            f"the passport is one of SAE '{given.sae}' ({given.fingerprint[:12]}), the SAE given is '{coder.name}' "
            f"({coder.fingerprint[:12]}); measure its own, or give none"
        )
    return given
