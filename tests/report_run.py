"""A small run folder with the awkward texts that a page must survive; made without drawing charts, for speed."""

from __future__ import annotations

import json
from pathlib import Path

from emovec_sae.charts import FAMILIES

ATTACK = '<script>document.title="owned"</script>'
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="640" height="300" viewBox="0 0 640 300">'
    '<rect id="a" width="640" height="300" fill="#fff"/><text x="20" y="40">figure</text></svg>'
)
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 40


def make_run(folder: Path, *, passages: int = 5) -> Path:
    """Write a complete run folder and return it."""
    figures = folder / "figures"
    figures.mkdir(parents=True)
    for name in FAMILIES:
        (figures / f"{name}.svg").write_text(SVG)
        (figures / f"{name}.png").write_bytes(PNG)
        (figures / f"{name}.csv").write_text("emotion,value\nafraid,0.5\n")
        (figures / f"{name}.caption.md").write_text(f"Caption of {name} & {ATTACK}, n = 3.\n\nSecond paragraph.\n")
    scores = [
        {
            "group": "Reading",
            "name": f"top-1 {ATTACK}",
            "value": 0.625,
            "low": 0.55,
            "high": 0.69,
            "n": 192,
            "note": "dot",
        },
        {"group": "Reading", "name": "top-5", "value": 0.93, "low": None, "high": None, "n": 192, "note": ""},
        {"group": "SAE", "name": "identity error", "value": 2.3e-7, "low": None, "high": None, "n": None, "note": ""},
        {"group": "SAE", "name": "l0", "value": float("nan"), "low": None, "high": None, "n": 40960, "note": ""},
    ]
    pieces = [
        {"token": "It", "activation": 0.0}, {"token": " was", "activation": 0.0},
        {"token": f" {ATTACK}", "activation": 4.25}, {"token": " dark", "activation": 8.5},
        {"token": ".\n", "activation": 0},
    ]  # fmt: skip
    latent = {
        "latent": 1234,
        "emotions": [{"emotion": "afraid", "share": 0.034, "low": 0.02, "high": 0.05},
                     {"emotion": "calm", "share": -0.006, "low": -0.01, "high": 0.001}],
        "tokens_up": [" fear", "\n", ATTACK],
        "firing_rate": 0.013,
        "passages": [{"emotion": "afraid", "id": f"afraid.{i}", "pieces": pieces} for i in range(passages)],
    }  # fmt: skip
    generations = [
        {"emotion": emotion, "prompt": "Tell me.", "arm": arm, "dose": "0.1 nats", "text": f"{arm} says {ATTACK}"}
        for emotion in ("afraid", "worn out")
        for arm in ("none", "raw", "k=16")
    ]
    results = {
        "title": f"A run {ATTACK}", "model": "tiny", "verdict": ["First finding.", f"Second {ATTACK}"],
        "scores": scores,
        "provenance": {"command": ["emovec", "demo"], "packages": {"torch": "2.13.0"}, "seed": 0, "commit": None,
                       "inputs": [{"name": "stories"}], "page": "https://example.org/x"},
    }  # fmt: skip
    for name, value in (("results", results), ("latents", [latent]), ("generations", generations)):
        (folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    return folder
