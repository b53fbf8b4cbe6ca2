"""Ways out of a store: a pandas frame, a labelled array."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from emovec_sae.errors import StoreError
from emovec_sae.sites import Site

if TYPE_CHECKING:
    import xarray

    from emovec_sae.store.reader import Activations

_LABELS = ("id", "emotion", "group")


def to_pandas(acts: Activations, site: str | Site, pool: str = "mean") -> pd.DataFrame:
    """Pooled activations at a site as a frame.

    Returns
    -------
    pandas.DataFrame
        (texts, d_model) float32, the index labelled ``id``, ``emotion``, ``group``.
    """
    index = pd.MultiIndex.from_frame(acts.frame[list(_LABELS)])
    return pd.DataFrame(acts.pooled(site, pool), index=index)


def to_xarray(acts: Activations, pool: str = "mean") -> xarray.DataArray:
    """Pooled activations of every site that has the pool as a labelled array.

    Returns
    -------
    xarray.DataArray
        (site, text, d_model) float32; coordinates ``site``, ``id``, ``emotion``, ``group``, ``lang``.

    Raises
    ------
    StoreError
        If xarray is not installed, or no site has the pool.
    """
    try:
        import xarray
    except ImportError as error:
        raise StoreError("to_xarray needs xarray; run: pip install 'emovec_sae[xarray]'") from error
    sites = [site for site in acts.sites if pool in acts.pools_of(site)]
    if pool == "none" or not sites:
        raise StoreError(f"{acts.path} has no pool '{pool}' to lay out as an array; pools are {', '.join(acts.pools)}")
    labels = {name: ("text", acts.frame[name].to_numpy(object)) for name in (*_LABELS, "lang")}
    return xarray.DataArray(
        np.stack([acts.pooled(site, pool) for site in sites]),
        dims=("site", "text", "d_model"),
        coords={"site": [str(site) for site in sites], **labels},
        name=pool,
        attrs={"model": acts.model["name"], "offset": acts.offset, "fingerprint": acts.fingerprint},
    )
