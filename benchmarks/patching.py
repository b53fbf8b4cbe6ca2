"""An exact map of activation patching beside the loop that a newcomer writes, and beside its gradient approximation.

    .venv/bin/python benchmarks/patching.py [--pairs 20] [--cells 60] [--model smollm2-135m-instruct]

The map has a cell for every pair, block and token from the changed word on. The loop puts a hook on the block and runs
the whole model, head and all tokens, once a cell; it is timed on cells drawn at random, before and after ours, and its
time for the whole map is reckoned from their mean. On those cells both must give the same margin. Prints one JSON
object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import numpy as np
import pandas as pd
import torch

from emovec_sae import load_model, load_pairs, patch
from emovec_sae.interventions.patches.alignment import AlignedPair, align
from emovec_sae.models.model import Model
from emovec_sae.sites import Site


def spread(model: Model, count: int) -> pd.DataFrame:
    """The first so many pairs that align, families taken in turn."""
    pairs = load_pairs()
    usable = pairs[pairs["id"].isin([one.id for one in align(model, pairs)[0]])]
    turn = usable.groupby("family").cumcount()
    return usable.iloc[np.argsort(turn.to_numpy(), kind="stable")[:count]]


@torch.inference_mode()
def hooked(model: Model, pair: AlignedPair, site: str, position: int, kept: dict[Any, torch.Tensor]) -> float:
    """One cell by a plain hook; the source's states are recorded once and kept."""
    module: Any = model.module
    block = module.get_submodule(model.blocks.path(Site.parse(site)))
    source = kept[(pair.id, site)]

    def put(*parts: Any) -> torch.Tensor:
        new = parts[2].clone()
        new[0, position] = source[0, position]
        return new

    handle = block.register_forward_hook(put)
    logits = module(input_ids=torch.tensor([pair.target])).logits[0, -1].float()
    handle.remove()
    return float(logits[pair.answers[0]] - logits[pair.answers[1]])


@torch.inference_mode()
def record(model: Model, pair: AlignedPair, sites: list[str]) -> dict[Any, torch.Tensor]:
    """The source's states, by plain hooks."""
    kept: dict[Any, torch.Tensor] = {}
    handles = []
    for site in sites:
        block = model.module.get_submodule(model.blocks.path(Site.parse(site)))
        key = (pair.id, site)
        handles.append(block.register_forward_hook(lambda *parts, key=key: kept.__setitem__(key, parts[2])))
    module: Any = model.module
    module(input_ids=torch.tensor([pair.source]))
    for handle in handles:
        handle.remove()
    return kept


def main() -> int:
    """Run it and print one JSON object."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--pairs", type=int, default=20)
    options.add_argument("--cells", type=int, default=60)
    options.add_argument("--model", default="smollm2-135m-instruct")
    given = options.parse_args()
    model = load_model(given.model)
    frame = spread(model, given.pairs)
    aligned = {one.id: one for one in align(model, frame)[0]}
    patch(model, frame.head(1), sites=f"resid_post.{model.n_layers - 1}")  # first calls pay for what is made lazily

    def timed(**how: Any) -> tuple[float, pd.DataFrame]:
        start = time.perf_counter()
        found = patch(model, frame, sites="resid_post.*", **how)
        return time.perf_counter() - start, found.frame()

    def loop(cells: pd.DataFrame) -> tuple[float, list[float]]:
        start = time.perf_counter()
        found = [
            hooked(
                model, aligned[str(row.pair)], str(row.site), len(aligned[str(row.pair)].target) + row.position, kept
            )
            for row in cells.itertuples()
        ]
        return (time.perf_counter() - start) / len(cells), found

    fast, approximate = timed(method="attribution")
    drawn = approximate.sample(min(given.cells, len(approximate)), random_state=0)
    sites = sorted(approximate["site"].unique())
    kept = {key: value for one in aligned.values() for key, value in record(model, one, sites).items()}
    before, margins = loop(drawn)
    exact, cells = timed()
    after, _ = loop(drawn)
    apart = np.abs(np.array(margins) - cells.loc[drawn.index, "patched"].to_numpy())
    naive = (before + after) / 2 * len(cells)
    told = {
        "model": given.model, "dtype": model.dtype, "threads": torch.get_num_threads(), "pairs": len(frame),
        "cells": len(cells), "exact_s": round(exact, 2), "exact_ms_a_cell": round(1e3 * exact / len(cells), 3),
        "loop_ms_a_cell": [round(1e3 * one, 2) for one in (before, after)], "loop_cells": len(drawn),
        "loop_s_reckoned": round(naive, 1), "ratio": round(naive / exact, 1), "attribution_s": round(fast, 2),
        "attribution_ratio": round(exact / fast, 1), "margins_apart_max": round(float(apart.max()), 4),
        "margins_apart_mean": round(float(apart.mean()), 4),
    }  # fmt: skip
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
