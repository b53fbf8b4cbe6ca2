"""Recording beside its limit: bare forward hooks on the same batches, stopped at the same block, writing nothing.

    .venv/bin/python benchmarks/recording.py [--texts 96] [--rounds 5]

Both run in turn in one process on the embedded model; quote the ratio of the medians, not an absolute time. Prints one
JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from emovec_sae.corpora.packaged import load_corpus
from emovec_sae.models.load import load_model
from emovec_sae.models.tokens import pad
from emovec_sae.recording.plan import make_plan
from emovec_sae.recording.record import record

BUDGET = 512
LAYERS = range(12, 25)
TOKENS_AT = 18


class Deep(Exception):
    """Raised by the hook of the deepest block, so that the blocks above do not run."""


def bare(model: Any, texts: list[str]) -> None:
    """The limit: hooks that keep a reference to what they see."""
    ids = model.tokens.encode(texts)
    kept: dict[int, torch.Tensor] = {}

    def hook(layer: int) -> Any:
        def keep(_module: Any, _inputs: Any, output: Any) -> None:
            kept[layer] = output
            if layer == LAYERS[-1]:
                raise Deep

        return keep

    handles = [model.module.model.layers[layer].register_forward_hook(hook(layer)) for layer in LAYERS]
    try:
        with torch.no_grad():
            for shard in make_plan([len(one) for one in ids], budget=BUDGET).shards:
                for rows in shard:
                    batch = pad([ids[row] for row in rows], pad_id=model.tokens.pad_id)
                    try:
                        model.module(**batch.inputs())
                    except Deep:
                        continue
    finally:
        for handle in handles:
            handle.remove()


def main() -> None:
    """Time both in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    model = load_model("smollm2-135m-instruct", device="cpu")
    corpus = load_corpus("stories", emotions="core", groups="demo").head(options.texts)
    texts = corpus.frame["text"].tolist()
    tokens = sum(map(len, model.tokens.encode(texts)))
    mean = {f"resid_post.{LAYERS[0]}-{LAYERS[-1]}": ("mean",)}
    every = mean | {f"resid_post.{TOKENS_AT}": ("mean", "none")}
    seconds: dict[str, list[float]] = {"hooks": [], "pooled": [], "tokens": []}
    bare(model, texts)
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            for name, sites in (("hooks", None), ("pooled", mean), ("tokens", every)):
                began = time.perf_counter()
                if sites is None:
                    bare(model, texts)
                else:
                    record(model, corpus, sites=sites, budget=BUDGET, out=Path(folder) / f"{name}{number}")
                seconds[name].append(time.perf_counter() - began)
    middle = {name: statistics.median(times) for name, times in seconds.items()}
    found = {
        "tokens": tokens,
        "rounds": options.rounds,
        "tokens_per_second": {name: round(tokens / value) for name, value in middle.items()},
        "ratio_to_hooks": {name: round(middle["hooks"] / middle[name], 3) for name in ("pooled", "tokens")},
        "ratio_by_round": {
            name: [round(a / b, 3) for a, b in zip(seconds["hooks"], seconds[name], strict=True)]
            for name in ("pooled", "tokens")
        },
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
