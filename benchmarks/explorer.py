"""The explorer through its own web server: how long a read-out takes, and how fast a steered answer streams.

    .venv/bin/python benchmarks/explorer.py runs/demo [--rounds 5] [--tokens 64] [--readouts 20]

Readouts: texts of about 100 tokens that the server has not seen, each for another emotion, asked for over HTTP.
Streaming: one answer under the raw direction, and the page's three arms, through HTTP, beside transformers' own greedy
``generate`` without edits at the same batch in the same process. Rounds alternate; every answer has all its tokens (the
model's end tokens are off). Prints one JSON object; quote medians and ratios.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from emovec_sae.corpora import load_corpus
from emovec_sae.models.tokens import pad
from emovec_sae.report.app.desk import Desk
from emovec_sae.report.app.explorer import Explorer
from emovec_sae.report.app.material import Material, open_material
from emovec_sae.report.app.server import bind, make_server

PROMPT = "Describe the room that you are in."


def lines(port: int, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What the server answers, line by line, as the page reads it."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        for line in answer:
            yield json.loads(line)


def readouts(port: int, material: Material, count: int) -> tuple[list[float], list[int]]:
    """Seconds of each read-out, and the tokens of its text."""
    words = " ".join(load_corpus("neutral").frame["text"]).split()
    emotions = material.directions.emotions
    seconds, tokens = [], []
    for number in range(count):
        text = " ".join(words[number * 77 : number * 77 + 77])
        began = time.perf_counter()
        (found,) = lines(port, "/api/heat", {"text": text, "emotion": emotions[number % len(emotions)]})
        seconds.append(time.perf_counter() - began)
        tokens.append(len(found["pieces"]))
    return seconds, tokens


def own(material: Material, rows: int, tokens: int) -> float:
    """Seconds of the model's own greedy generation."""
    model = material.model
    batch = pad([model.tokens.chat_prompt(PROMPT)] * rows, pad_id=model.tokens.pad_id, side="left")
    began = time.perf_counter()
    with torch.no_grad():
        found: Any = model.module.generate(  # pyright: ignore[reportCallIssue]
            **batch.inputs(), max_new_tokens=tokens, do_sample=False, pad_token_id=model.tokens.pad_id
        )
    took = time.perf_counter() - began
    if found.shape[1] - batch.input_ids.shape[1] != tokens:
        raise RuntimeError("the model's own text ended early")
    return took


def streamed(port: int, body: dict[str, Any], tokens: int) -> float:
    """Seconds from the last line before the writing to the last token: doses and next-token odds are not writing."""
    began = time.perf_counter()
    for line in lines(port, "/api/answers", body):
        if line["kind"] in ("dose", "next"):
            began = time.perf_counter()
        elif line["kind"] == "done":
            if line["tokens"] != tokens:
                raise RuntimeError("the streamed text ended early")
        elif line["kind"] != "text":
            raise RuntimeError(f"unexpected: {line}")
    return time.perf_counter() - began


def speeds(name: str, seconds: list[tuple[float, float]], tokens: int) -> dict[str, Any]:
    """Tokens a second of the model's own text and of the streamed one, and the ratio in each round."""
    return {
        "answer": name,
        "own_tokens_per_second": round(tokens / statistics.median(one for one, _ in seconds), 1),
        "streamed_tokens_per_second": round(tokens / statistics.median(two for _, two in seconds), 1),
        "ratio": round(statistics.median(one / two for one, two in seconds), 3),
        "ratios": [round(one / two, 3) for one, two in seconds],
    }


def main() -> int:
    """Time both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--readouts", type=int, default=20)
    options = parser.parse_args()
    sock = bind("127.0.0.1", 0)
    material = open_material(options.run)
    material.model.module.generation_config.eos_token_id = None  # pyright: ignore[reportOptionalMemberAccess]
    explorer, desk = Explorer(material), Desk()
    server = make_server(explorer, desk, host="127.0.0.1")
    threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True).start()
    port = sock.getsockname()[1]
    emotion = explorer.start().emotions[0]
    asked = {"prompt": PROMPT, "tokens": options.tokens, "k": explorer.start().k, "beyond": True}
    mix = {"emotions": [emotion], "strengths": [0.1]}
    sides = {
        "raw alone": (1, {**asked, **mix, "arms": ["raw"]}),
        "latents alone": (1, {**asked, **mix, "arms": ["latents"]}),
        "three arms": (3, {**asked, **mix}),
    }
    seconds: dict[str, list[tuple[float, float]]] = {}
    for _ in range(options.rounds + 1):  # the first warms up
        for name, (rows, body) in sides.items():
            found = (own(material, rows, options.tokens), streamed(port, body, options.tokens))
            seconds.setdefault(name, []).append(found)
    took, tokens = readouts(port, material, options.readouts + 1)
    found = {
        "model": material.model.describe(),
        "threads": torch.get_num_threads(),
        "readout": {
            "tokens": [min(tokens), max(tokens)],
            "median_s": round(statistics.median(took[1:]), 3),
            "worst_s": round(max(took[1:]), 3),
        },
        "streaming": [speeds(name, every[1:], options.tokens) for name, every in seconds.items()],
    }
    sys.stdout.write(json.dumps(found) + "\n")
    server.should_exit = True
    desk.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
