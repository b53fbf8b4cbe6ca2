"""Which recorded tokens an SAE is measured on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from emovec_sae.errors import MismatchError
from emovec_sae.saes.coder import SparseCoder

if TYPE_CHECKING:
    from emovec_sae.store.reader import Activations
    from emovec_sae.store.site_view import SiteActivations


def at_site(coder: SparseCoder, acts: Activations | SiteActivations) -> SiteActivations:
    """The SAE's own site of a store, or the site that was given.

    Raises
    ------
    MismatchError
        If the store has not recorded it.
    """
    from emovec_sae.store.site_view import SiteActivations

    if isinstance(acts, SiteActivations):
        return acts
    if coder.site not in acts.sites:
        have = ", ".join(map(str, acts.sites))
        raise MismatchError(
            f"SAE '{coder.name}' reads {coder.site}, these activations are {have}. "
            f"Record that site with --sites {coder.site}, or choose an SAE of {have}"
        )
    return acts[coder.site]


def some_texts(source: SiteActivations, tokens: int, seed: int) -> SiteActivations:
    """A random part of the texts that holds about so many tokens, all of them if they hold fewer."""
    lengths = source.activations.frame["n_tokens"].to_numpy()
    order = np.random.default_rng(seed).permutation(len(lengths))
    wanted = int(np.searchsorted(np.cumsum(lengths[order]), tokens)) + 1
    if wanted >= len(lengths):
        return source
    return source.activations.where(np.sort(order[:wanted]))[source.site]
