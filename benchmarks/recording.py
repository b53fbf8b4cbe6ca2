"""Recording beside its limit, bare forward hooks, and beside the ways in which others get the same activations.

    .venv/bin/python benchmarks/recording.py [--corpus stories] [--texts 96] [--layers 12 24] [--rounds 5]

All run in turn in one process on the embedded model, in the same precision and at the same sites; quote ratios, not
absolute times. ``stories`` are texts of about one length; ``mixed`` is a sample of all packaged English texts, most of
them stories; ``uneven`` has as many of each packaged corpus, a line to a paragraph; both in random order. ``pooled``
and ``tokens`` write their shards to disk. Prints one JSON object.
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

import pandas as pd
import torch
from peers import PEERS, hooks

from emovec_sae.corpora.frame import Corpus
from emovec_sae.corpora.packaged import CORPORA, load_corpus
from emovec_sae.models.load import load_model
from emovec_sae.models.model import Model
from emovec_sae.recording.record import record

OFFSET = 4
Way = Callable[[], object]


def sample(name: str, count: int) -> Corpus:
    """Texts to record."""
    if name == "stories":
        return load_corpus("stories", emotions="core", groups="demo").head(count)
    frames = [load_corpus(one).frame[["text", "lang"]].assign(source=one) for one in CORPORA]
    every = pd.concat(frames, ignore_index=True).query("lang == 'en'").drop_duplicates("text")
    every = every[every["text"].str.split().str.len() > OFFSET + 2].sample(frac=1, random_state=0)
    if name == "uneven":  # the first of each corpus, then the second of each, and on
        every = every.iloc[every.groupby("source").cumcount().argsort(kind="stable")]
    return Corpus.from_frame(every.head(count).sample(frac=1, random_state=0)[["text"]], name=name)


def ratios(seconds: dict[str, list[float]], to: str) -> dict[str, Any]:
    """Median ratio of speeds to a way, and that of each round: the rounds are paired."""
    found = {}
    for name, times in seconds.items():
        rounds = [a / b for a, b in zip(seconds[to], times, strict=False)]
        found[name] = {"median": round(statistics.median(rounds), 3), "rounds": [round(one, 3) for one in rounds]}
    return found


def asked() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", choices=["stories", "mixed", "uneven"], default="stories")
    parser.add_argument("--texts", type=int, default=96)
    parser.add_argument("--layers", type=int, nargs=2, default=[12, 24])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer-rounds", type=int, default=2)
    parser.add_argument("--budget", type=int, default=512)
    return parser.parse_args()


def recordings(model: Model, corpus: Corpus, layers: range, budget: int, sizes: dict[str, float]) -> dict[str, Way]:
    """The package's two ways; each puts the bytes that a value took into `sizes`."""
    middle = f"resid_post.{(layers[0] + layers[-1]) // 2}"
    mean = {f"resid_post.{layers[0]}-{layers[-1]}": ("mean",)}
    every = mean | {middle: ("mean", "none")}

    def recorded(name: str, sites: dict[str, tuple[str, ...]]) -> Way:
        def run() -> None:
            with tempfile.TemporaryDirectory() as folder:
                acts = record(model, corpus, sites=sites, offset=OFFSET, budget=budget, out=Path(folder) / name)
                pooled = len(layers) * len(acts) * model.d_model
                stored = acts.count_tokens(middle) * model.d_model if sites is every else 0
                sizes[name] = sum(shard["bytes"] for shard in acts.manifest["shards"]) / (pooled + stored)

        return run

    return {"pooled": recorded("pooled", mean), "tokens": recorded("tokens", every)}


def main() -> None:
    """Time every way in turn."""
    options = asked()
    model = load_model("smollm2-135m-instruct", device="cpu")
    corpus = sample(options.corpus, options.texts)
    texts = corpus.frame["text"].tolist()
    layers = range(options.layers[0], options.layers[1] + 1)
    tokens = sum(map(len, model.tokens.encode(texts)))
    seconds: dict[str, list[float]] = {}
    sizes: dict[str, float] = {}
    ways: dict[str, Way] = {
        "hooks": lambda: hooks(model, texts, layers, options.budget),
        **recordings(model, corpus, layers, options.budget, sizes),
    }
    peers = {name: (lambda peer=peer: peer(model, texts, layers)) for name, peer in PEERS.items()}
    hooks(model, texts, layers, options.budget)
    for number in range(options.rounds):
        for name, run in (ways | peers if number < options.peer_rounds else ways).items():
            began = time.perf_counter()
            run()
            seconds.setdefault(name, []).append(time.perf_counter() - began)
    found = {
        "corpus": options.corpus,
        "texts": len(texts),
        "tokens": tokens,
        "layers": options.layers,
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
