"""Make the archived store of the present version: ``python tests/format/make_store.py tests/format/v1``.

An archive is made once, when a version is new, and never again: it stands for the stores that people have.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from emovec_sae.recording.record import record
from emovec_sae.testing import tiny_corpus, tiny_model

SITES = {"resid_post.1": ("mean", "last", "max", "none"), "mlp_out.2": ("mean",)}


def main(folder: Path) -> None:
    acts = record(tiny_model(), tiny_corpus(groups=2), sites=SITES, offset=5, budget=130, out=folder / "store")
    every = list(acts.tokens("resid_post.1"))

    np.savez_compressed(
        folder / "values.npz",
        allow_pickle=False,
        **{
            f"{site}/{pool}": acts.pooled(site, pool)
            for site, pools in SITES.items()
            for pool in pools
            if pool != "none"
        },
        **{name: np.concatenate([getattr(one, name) for one in every]) for name in ("text", "position", "values")},
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
