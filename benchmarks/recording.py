"""Recording beside its limit, bare forward hooks, and beside the ways in which others get the same activations.

    .venv/bin/python benchmarks/recording.py [--texts 96] [--rounds 5] [--peer-rounds 2] [--budget 512]

All run in turn in one process on the embedded model, in the same precision, 13 sites; quote ratios, not absolute
times. ``pooled`` and ``tokens`` write their shards to disk. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peers import LAYERS, PEERS, hooks

from emovec_sae.corpora.packaged import load_corpus
from emovec_sae.models.load import load_model
from emovec_sae.recording.record import record

TOKENS_AT = 18
MEAN = {f"resid_post.{LAYERS[0]}-{LAYERS[-1]}": ("mean",)}
EVERY = MEAN | {f"resid_post.{TOKENS_AT}": ("mean", "none")}


def ratios(seconds: dict[str, list[float]], to: str) -> dict[str, Any]:
    """Median ratio of speeds to a way, and that of each round: the rounds are paired."""
    found = {}
    for name, times in seconds.items():
        rounds = [a / b for a, b in zip(seconds[to], times, strict=False)]
        found[name] = {"median": round(statistics.median(rounds), 3), "rounds": [round(one, 3) for one in rounds]}
    return found


def main() -> None:
    """Time every way in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer-rounds", type=int, default=2)
    parser.add_argument("--budget", type=int, default=512)
    options = parser.parse_args()
    model = load_model("smollm2-135m-instruct", device="cpu")
    corpus = load_corpus("stories", emotions="core", groups="demo").head(options.texts)
    texts = corpus.frame["text"].tolist()
    tokens = sum(map(len, model.tokens.encode(texts)))
    seconds: dict[str, list[float]] = {}
    sizes: dict[str, float] = {}

    def recorded(name: str, sites: dict[str, tuple[str, ...]]) -> Callable[[], None]:
        def run() -> None:
            with tempfile.TemporaryDirectory() as folder:
                acts = record(model, corpus, sites=sites, budget=options.budget, out=Path(folder) / name)
                pooled = len(LAYERS) * len(acts) * model.d_model
                stored = acts.count_tokens(f"resid_post.{TOKENS_AT}") * model.d_model if sites is EVERY else 0
                sizes[name] = sum(shard["bytes"] for shard in acts.manifest["shards"]) / (pooled + stored)

        return run

    ways: dict[str, Callable[[], Any]] = {
        "hooks": lambda: hooks(model, texts, options.budget),
        "pooled": recorded("pooled", MEAN),
        "tokens": recorded("tokens", EVERY),
    }
    peers = {name: (lambda peer=peer: peer(model, texts)) for name, peer in PEERS.items()}
    hooks(model, texts, options.budget)
    for number in range(options.rounds):
        for name, run in (ways | peers if number < options.peer_rounds else ways).items():
            began = time.perf_counter()
            run()
            seconds.setdefault(name, []).append(time.perf_counter() - began)
    found = {
        "tokens": tokens,
        "dtype": model.dtype,
        "threads": torch.get_num_threads(),
        "budget": options.budget,
        "tokens_per_second": {name: round(tokens / statistics.median(times)) for name, times in seconds.items()},
        "speed_to_hooks": ratios(seconds, "hooks"),
        "pooled_speed_to_peers": {
            name: round(statistics.median(seconds[name]) / statistics.median(seconds["pooled"]), 2)
            for name in PEERS
            if name in seconds
        },
        "bytes_a_value": {name: round(size, 2) for name, size in sizes.items()},
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
