"""A small run folder with the awkward texts that a page must survive; made without drawing charts, for speed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
from chart_frames import FRAMES

from emovec_sae.charts import FAMILIES
from emovec_sae.studies.bench.card import COLUMNS, ScoreCard

ATTACK = '<script>document.title="owned"</script>'
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="640" height="300" viewBox="0 0 640 300">'
    '<rect id="a" width="640" height="300" fill="#fff"/><text x="20" y="40">figure</text></svg>'
)
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 40


LIVE = ("dose_curves", "naming")
"""Figures whose tables lie in the run, so that they can answer the reader; all others are pictures."""
ENDING = '</script><script>document.title="owned"</script><!--'
"""A name that would end the element that holds a specification."""


def live_figures(figures: Path) -> None:
    """Write the tables of `LIVE`, one of them with `ENDING` for a name."""
    for name in LIVE:
        table = FRAMES[name]()
        if name == "naming":
            table = table.assign(emotion=table["emotion"].where(table["emotion"] != table["emotion"][0], ENDING))
        table.to_parquet(figures / f"{name}.parquet", index=False)
        facts = {"drawing": {"family": name, "options": {}, "width": "double"}}
        (figures / f"{name}.provenance.json").write_text(json.dumps(facts))


def evidence_files(folder: Path) -> None:
    """Write what the section of diagnostics reads: two findings, a passport, a missed dose, stages, a verdict."""
    ends = {"value": 0.61, "low": 0.6, "high": 0.62}
    findings = {
        code: {"code": code, "name": name, "status": status, **ends, "n": 48, "threshold": 0.56, "measure": "AUROC",
               "message": f"Told from {name} {ATTACK}."}
        for code, name, status in (("EV001", "length", "warn"), ("EV002", "first word", "pass"))
    }  # fmt: skip
    passport = {"sae": "local", "site": "resid_post.18", "explained_variance": ends, "l0": {"value": 32.0},
                "dead_share": 0.0657, "dense_share": 0.005, "n_tokens": 40038, "n_texts": 342, "texts_trained_on": 0,
                "splice": None, "notes": ["no model was given"]}  # fmt: skip
    (folder / "diagnose.json").write_text(json.dumps({"findings": findings}))
    (folder / "passport.json").write_text(json.dumps(passport))
    rows = [
        {"arm": arm, "emotion": emotion, "draw": 0, "level": 0.25, "kl": kl, "reached": kl > 0.2, "strength": 0.3}
        for arm, emotion, kl in (("raw", "afraid", 0.25), ("k=1", "afraid", 0.11), ("random", None, 0.25))
    ]
    pd.DataFrame(rows).to_parquet(folder / "comparison.doses.parquet")
    (folder / "stages").mkdir()
    (folder / "stages" / "record.json").write_text(json.dumps({"about": "record the texts", "seconds": 61.2}))
    (folder / "study.json").write_text(json.dumps({"study": {"recording": {}, "generations": None, "sae": {}}}))
    (folder / "verdict.md").write_text(
        f"# Do k latents do it? {ATTACK}\n\nMade from numbers.\n\n- First.\n- Second.\n\n| arm | ratio |\n"
        "| --- | --- |\n| k=16 | 0.91 [0.85, 0.97, n = 24] |\n"
    )


def make_card(folder: Path, *, model: str = "tiny") -> Path:
    """Write a finished score card of one headline number and another."""
    row = dict.fromkeys(COLUMNS) | {"check": "topics", "title": "1 Held-out topics", "n": 192, "seed": 0}
    table = pd.DataFrame(
        [
            {**row, "number": "top-1", "value": 0.602, "low": 0.567, "high": 0.638, "null": 0.042, "headline": True},
            {**row, "number": "quiet", "value": 0.9, "low": np.nan, "high": np.nan, "headline": False},
        ]
    )
    variants = pd.DataFrame([], columns=["check", "variant"])
    ScoreCard({"name": model}, table, variants, {"languages": "one language only"}, {}, {}).save(folder / "card.json")
    return folder


def make_run(folder: Path, *, passages: int = 5, live: bool = False) -> Path:
    """Write a complete run folder and return it; with `live`, two figures can be drawn in the page."""
    figures = folder / "figures"
    figures.mkdir(parents=True)
    for name in FAMILIES:
        (figures / f"{name}.svg").write_text(SVG)
        (figures / f"{name}.png").write_bytes(PNG)
        (figures / f"{name}.csv").write_text("emotion,value\nafraid,0.5\n")
        (figures / f"{name}.caption.md").write_text(f"Caption of {name} & {ATTACK}, n = 3.\n\nSecond paragraph.\n")
    if live:
        live_figures(figures)
    evidence_files(folder)
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
        for emotion, arms in (("", ("base", "random")), ("afraid", ("raw", "k=16")), ("worn out", ("raw", "k=16")))
        for arm in arms
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
