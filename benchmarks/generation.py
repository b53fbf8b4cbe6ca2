"""Sampling many texts at once, beside transformers' own ``generate`` on the same prompts in batches of the same size.

    .venv/bin/python benchmarks/generation.py [--model M] [--texts 96] [--batches 16 48 96] [--tokens 96] [--rounds 3]

The prompts are requests of stories, as ``emovec corpora generate`` makes them; both sides sample at temperature 0.9,
top-p 0.95, among the 50 likeliest tokens, and neither is given the end tokens' early stop (each text gets all its
tokens), so that both write the same number. Rounds alternate; quote ratios and medians. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import torch

from emovec_sae import load_model
from emovec_sae.corpora.requests import Stories, choose_emotions, choose_topics, load_material
from emovec_sae.models import sampling
from emovec_sae.models.model import Model
from emovec_sae.models.tokens import pad


def ours(model: Model, prompts: list[list[int]], batch: int, tokens: int) -> int:
    """New tokens of `sample_ids`."""
    draws = np.random.default_rng(0).random((len(prompts), tokens))
    found = 0
    with mock.patch.object(sampling, "_end_tokens", return_value=torch.tensor([-1])):
        for start in range(0, len(prompts), batch):
            part = slice(start, start + batch)
            rows = sampling.sample_ids(model, prompts[part], draws=draws[part], temperature=0.9, top_p=0.95)
            found += sum(map(len, rows))
    return found


def theirs(model: Model, prompts: list[list[int]], batch: int, tokens: int) -> int:
    """New tokens of transformers' own generation."""
    found = 0
    for start in range(0, len(prompts), batch):
        padded = pad(prompts[start : start + batch], pad_id=model.tokens.pad_id, device=model.device, side="left")
        with torch.no_grad():
            rows: Any = model.module.generate(  # pyright: ignore[reportCallIssue]
                **padded.inputs(), max_new_tokens=tokens, min_new_tokens=tokens, do_sample=True, temperature=0.9,
                top_p=0.95, top_k=50, pad_token_id=model.tokens.pad_id,
            )  # fmt: skip
        found += rows[:, padded.input_ids.shape[1] :].numel()
    return found


def main() -> int:
    """Time both sides at every batch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--texts", type=int, default=96)
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 48, 96])
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    model = load_model(options.model)
    names = load_material().names
    plan = Stories(choose_emotions("core"), choose_topics("new"), 1, model.tokens.chat)
    asked = [plan.request(slot, names[slot % len(names)]) for slot in range(options.texts)]
    prompts = sorted((one.encode(model.tokens) for one in asked), key=len)
    sides: dict[str, Callable[[Model, list[list[int]], int, int], int]] = {"ours": ours, "transformers": theirs}
    seconds: dict[tuple[str, int], list[float]] = {}
    for _ in range(options.rounds):
        for batch in options.batches:
            for name, run in sides.items():
                started = time.perf_counter()
                count = run(model, prompts, batch, options.tokens)
                seconds.setdefault((name, batch), []).append((time.perf_counter() - started) / count)
    table = []
    for batch in options.batches:
        speed = {name: 1 / statistics.median(seconds[name, batch]) for name in sides}
        ratios = [theirs / ours for ours, theirs in zip(seconds["ours", batch], seconds["transformers", batch],
                                                        strict=True)]  # fmt: skip
        table.append({"batch": batch, **{f"{name}_tokens_per_second": round(one) for name, one in speed.items()},
                      "ratio": round(statistics.median(ratios), 2),
                      "ratios": [round(one, 2) for one in ratios]})  # fmt: skip
    facts = {"model": model.describe(), "threads": torch.get_num_threads(), "texts": options.texts,
             "prompt_tokens": sum(map(len, prompts)), "new_tokens": options.texts * options.tokens}  # fmt: skip
    sys.stdout.write(json.dumps({**facts, "table": table}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
