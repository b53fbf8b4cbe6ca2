"""A sweep of edits beside the loop that a newcomer writes, and steered generation beside unsteered.

    .venv/bin/python benchmarks/interventions.py [--model M] [--emotions 24] [--doses 9] [--prompts 24]
                                                 [--loop-cells 96] [--tokens 48] [--batches 1 8] [--rounds 3]

The loop traces the whole model once for every prompt, direction and dose, adds the vector at the site with nnsight and
reads the logits of the last token; it is timed on `--loop-cells` cells spread over the grid, and its time per cell is
compared with the sweep's (all cells, the unedited rows included). Generation is greedy, every text gets all its tokens;
steered (`ev.generate` with one edit), unsteered (without edits), and the same module with a plain forward hook. Rounds
alternate; quote ratios and medians. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import nnsight
import numpy as np
import torch

from emovec_sae import load_model, sweep
from emovec_sae.corpora.lexicon import contrast_words, load_lexicon
from emovec_sae.corpora.prompts import load_prompts
from emovec_sae.interventions.edits import Dosed, Shift
from emovec_sae.models.generate import generate_ids
from emovec_sae.models.model import Model
from emovec_sae.models.seam import envoy_of
from emovec_sae.sites import Site


def seconds(work: Callable[[], Any]) -> float:
    """Time of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def loop(model: Model, site: Site, cells: list[tuple[str, np.ndarray, float]], tokens: list[int]) -> list[float]:
    """What a newcomer writes: a trace of the whole model for each prompt, direction and dose."""
    found: list[float] = []
    layer: Any = envoy_of(model, model.blocks.path(site))
    for prompt, vector, dose in cells:
        added = torch.from_numpy(vector * np.float32(dose)).to(getattr(torch, model.dtype))
        with torch.no_grad(), model.net.trace(prompt):
            layer.output = layer.output + added
            logits = nnsight.save(model.net.lm_head.output[:, -1])
        found.append(float(logits.float().log_softmax(-1)[0, tokens].logsumexp(-1)))
    return found


def sweeps(model: Model, site: Site, norm: float, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds a cell of both sides."""
    words = dict(list(contrast_words(load_lexicon(), use="held_out").items())[: options.emotions])
    random = np.random.default_rng(0)
    vectors = {name: random.standard_normal(model.d_model).astype(np.float32) for name in words}
    vectors = {name: one / np.linalg.norm(one) for name, one in vectors.items()}
    edits: dict[str, Dosed] = {name: Shift(one, site=site, coefficient=1.0) for name, one in vectors.items()}
    doses = np.linspace(0.0, 0.4, options.doses).tolist()
    prompts = load_prompts()["text"].tolist()[: options.prompts]
    grid = [(prompt, vectors[name], dose * norm) for prompt in prompts for name in words for dose in doses]
    some = [grid[index] for index in np.linspace(0, len(grid) - 1, min(options.loop_cells, len(grid))).astype(int)]
    first = sorted({ids[0] for ids in model.tokens.encode([f" {one}" for one in next(iter(words.values()))],
                                                          special=False)})  # fmt: skip
    ours, theirs = [], []
    for _ in range(options.rounds):
        ours.append(seconds(lambda: sweep(model, prompts, edits, doses, score=words, unit=norm)) / len(grid))
        theirs.append(seconds(lambda: loop(model, site, some, first)) / len(some))
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    return {"cells": len(grid), "loop_cells": len(some), "sweep_seconds": round(statistics.median(ours) * len(grid), 1),
            "sweep_ms_a_cell": round(1000 * statistics.median(ours), 2),
            "loop_ms_a_cell": round(1000 * statistics.median(theirs), 2),
            "ratio": round(statistics.median(ratios), 2), "ratios": [round(one, 2) for one in ratios]}  # fmt: skip


def generations(model: Model, site: Site, norm: float, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Tokens a second, steered, unsteered and under a plain hook."""
    module: Any = model.module
    module.generation_config.eos_token_id = None
    vector = np.random.default_rng(0).standard_normal(model.d_model)
    edit = Shift(vector, site=site, coefficient=0.1 * norm)
    added = torch.from_numpy(edit.added).to(model.device, getattr(torch, model.dtype))
    texts = load_prompts()["text"].tolist()

    def hooked(ids: list[list[int]]) -> None:
        block = module.get_submodule(model.blocks.path(site))
        handle = block.register_forward_hook(lambda _module, _args, output: output + added)
        try:
            generate_ids(model, ids, max_new_tokens=options.tokens)
        finally:
            handle.remove()

    sides: dict[str, Callable[[list[list[int]]], Any]] = {
        "unsteered": lambda ids: generate_ids(model, ids, max_new_tokens=options.tokens),
        "steered": lambda ids: generate_ids(model, ids, edits=[edit], max_new_tokens=options.tokens),
        "plain hook": hooked,
    }
    table = []
    for batch in options.batches:
        ids = model.tokens.encode(texts[:batch])
        taken: dict[str, list[float]] = {name: [] for name in sides}
        for name, run in [*sides.items()] * options.rounds:
            taken[name].append(batch * options.tokens / seconds(lambda run=run, ids=ids: run(ids)))
        speed = {name: statistics.median(some) for name, some in taken.items()}
        row = {"batch": batch, **{f"{name}_tokens_per_second": round(one, 1) for name, one in speed.items()}}
        for other in ("unsteered", "plain hook"):
            pairs = [a / b for a, b in zip(taken["steered"], taken[other], strict=True)]
            row[f"over {other}"] = round(statistics.median(pairs), 3)
        table.append(row)
    return table


def main() -> int:
    """Time both parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--emotions", type=int, default=24)
    parser.add_argument("--doses", type=int, default=9)
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--loop-cells", type=int, default=96)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    model = load_model(options.model)
    site, norm = Site("resid_post", round(model.n_layers * 0.6)), 100.0
    facts = {"model": model.describe(), "threads": torch.get_num_threads(), "site": str(site)}
    found = {"sweep": sweeps(model, site, norm, options), "generation": generations(model, site, norm, options)}
    sys.stdout.write(json.dumps({**facts, **found}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
