"""A small table of every chart family, for the tests of charts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

EMOTIONS = ["afraid", "happy", "angry", "sad", "calm", "worn out"]


def vector_map_frame(n: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    valence = rng.uniform(1, 9, n)
    return pd.DataFrame(
        {
            "emotion": [f"emotion {i}" for i in range(n)], "pc1": valence / 4 + rng.normal(0, 0.1, n),
            "pc2": rng.normal(0, 1, n), "valence": valence, "arousal": rng.uniform(1, 9, n), "family": "one",
            "core": np.arange(n) % 5 == 0, "explained1": 0.262, "explained2": 0.151, "site": "resid_post.18",
            "n_texts": 16,
        }
    )  # fmt: skip


def similarity_frame(n: int = 6) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    unit = rng.normal(size=(n, 4))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    a, b = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    order = rng.permutation(n)
    return pd.DataFrame(
        {
            "emotion_a": [f"e{i}" for i in a.ravel()], "emotion_b": [f"e{i}" for i in b.ravel()],
            "cosine": (unit @ unit.T).ravel(), "order_a": order[a.ravel()], "order_b": order[b.ravel()],
        }
    )  # fmt: skip


def site_sweep_frame(streams: tuple[str, ...] = ("resid_post",)) -> pd.DataFrame:
    rows = [
        {
            "site": f"{stream}.{layer}", "layer": layer, "metric": metric, "value": top - abs(layer - 4) / 20,
            "low": top - abs(layer - 4) / 20 - 0.05, "high": top - abs(layer - 4) / 20 + 0.05, "n": 192,
            "chance": chance, "baseline": base,
        }
        for stream in streams
        for layer in range(8)
        for metric, top, chance, base in (("top1", 0.6, 1 / 24, 0.15), ("top5", 0.9, 5 / 24, 0.43))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def composition_frame() -> pd.DataFrame:
    shares = [("latent", 12, "L12 fear", 0.034), ("latent", 7, "L7 calm", -0.012), ("latent", 9, "L9 night", 0.004)]
    shares += [("other latents", -1, "other latents", 0.66), ("error", -1, "SAE error", 0.314)]
    rows = [
        {
            "emotion": "afraid", "kind": kind, "latent": latent, "label": label, "share": share, "low": share - 0.01,
            "high": share + 0.01, "null_low": -0.004, "null_high": 0.006, "n_texts": 192,
        }
        for kind, latent, label, share in shares
    ]  # fmt: skip
    return pd.DataFrame(rows)


def latents_frame() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    return pd.DataFrame(
        [
            {
                "emotion": emotion, "latent": 100 + j, "label": f"L{100 + j}  'quote\" {j}",
                "delta": rng.normal(0, 0.1),
                "emotion_order": i, "latent_order": j,
            }
            for i, emotion in enumerate(EMOTIONS)
            for j in range(5)
        ]
    )  # fmt: skip


def dose_frame() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"emotion": emotion, "arm": arm, "kl": level * 1.01, "level": level, "effect": gain * level**0.5,
             "low": gain * level**0.5 - 0.2, "high": gain * level**0.5 + 0.2, "n": 24}
            for emotion in EMOTIONS
            for arm, gain in (("raw", 2.0), ("random", 0.1), ("k=1", 0.8), ("k=4", 1.0), ("k=16", 1.3), ("rest", 1.9))
            for level in (0.05, 0.1, 0.5)
        ]
    )  # fmt: skip


def patching_frame(column: str = "where") -> pd.DataFrame:
    places = ["last", "between", "changed word", "before"] if column == "where" else [-1, -2, -10]
    return pd.DataFrame(
        [
            {"site": f"resid_post.{layer}", "layer": layer, column: place, "recovered": (layer - 3) / 4 * (i - 1),
             "low": -0.1, "high": 0.1, "n": 127}
            for layer in range(8)
            for i, place in enumerate(places)
        ]
    )  # fmt: skip


def families_frame() -> pd.DataFrame:
    names = ["Fear", "Joy", "Anger"]
    return pd.DataFrame(
        [
            {"family": one, "other": two, "cosine": 0.3 if one == two else -0.1, "null_low": -0.05, "null_high": 0.05,
             "n": 20}
            for one in names
            for two in names
        ]
    )  # fmt: skip


def spectrum_frame() -> pd.DataFrame:
    return pd.DataFrame(
        {"component": range(1, 6), "share": [0.2, 0.1, 0.05, 0.03, 0.01], "null": 0.02, "low": 0.015, "high": 0.025,
         "valence": 0.7, "arousal": -0.2, "n": 171}
    )  # fmt: skip


def learning_frame() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"measure": measure, "topics": topics, "value": top - 1 / topics / 2, "low": top - 1 / topics / 2 - 0.02,
             "high": top - 1 / topics / 2 + 0.02, "null": null, "n": 744}
            for measure, top, null in (("top-1", 0.5, 0.04), ("split-half cosine", 0.8, np.nan))
            for topics in (2, 4, 8)
        ]
    )  # fmt: skip


def scenario_frame() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"target": one, "read": two, "score": 2.0 if one == two else -0.2, "low": 1.0 if one == two else -0.5,
             "high": 2.5 if one == two else 0.2, "n": 6}
            for one in EMOTIONS
            for two in EMOTIONS
        ]
    )  # fmt: skip


def trends_frame() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"template": template, "emotion": emotion, "expected": way, "step": step, "value": 10.0**step,
             "score": (step - 2) * (1 if way == "up" else -1) * 0.6}
            for template in ("dose", "hours awake")
            for emotion, way in (("afraid", "up"), ("calm", "down"))
            for step in (1, 2, 3)
        ]
    )  # fmt: skip


def rsa_frame(names: tuple[str, ...] = ("resid_post.9", "resid_post.10", "resid_post.11")) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"one": one, "other": two, "r": 1 - 0.2 * abs(i - j), "low": 0.9 - 0.2 * abs(i - j), "high": 1.0, "n": 171}
            for i, one in enumerate(names)
            for j, two in enumerate(names)
        ]
    )


def language_frame() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"fit": one, "read": two, "top1": 0.6 if one == two else 0.3, "low": 0.2, "high": 0.7, "n": 72,
             "null": 0.08}
            for one in ("en", "de", "zh")
            for two in ("en", "de", "zh")
        ]
    )  # fmt: skip


def lens_frame() -> pd.DataFrame:
    tokens = [" afraid", "\n", "\u6050", " <b>", " terror", " afraid"]
    return pd.DataFrame(
        [
            {"emotion": emotion, "rank": rank, "token": tokens[(i + rank) % 6], "score": 2.0 / rank}
            for i, emotion in enumerate(EMOTIONS)
            for rank in range(1, 6)
        ]
    )


def token_frame() -> pd.DataFrame:
    words = ["It", " was", " dark", ",", " and", " nobody", " s", "l", "ept", ".", "\n"] * 3
    return pd.DataFrame(
        [
            {"text": "a story", "reader": reader, "position": i, "token": word,
             "score": np.nan if i < 2 else np.sin(i) * (1 if reader == "afraid" else -1)}
            for reader in ("afraid", "happy")
            for i, word in enumerate(words)
        ]
    )  # fmt: skip


def dashboard_frame() -> pd.DataFrame:
    rows = []
    for latent in (12, 7):
        base = {"latent": latent, "label": f"L{latent}  fear, dark", "firing_rate": 0.034}
        rows += [{**base, "panel": "activation", "name": f"{i * 0.5:g}", "value": 0.5**i, "order": i, "n": 900}
                 for i in range(1, 8)]  # fmt: skip
        rows += [{**base, "panel": "emotion", "name": name, "value": 9 - i, "order": i, "n": 20}
                 for i, name in enumerate(EMOTIONS[:3])]  # fmt: skip
        rows += [{**base, "panel": "token", "name": name, "value": 2.0 - i, "order": i, "n": 1}
                 for i, name in enumerate([" dark", "dark", "\u6050"])]  # fmt: skip
    return pd.DataFrame(rows)


def agreement_frame() -> pd.DataFrame:
    pairs = [("contrast", "omp", 0.5), ("contrast", "nnls", 0.25), ("omp", "nnls", 0.75)]
    return pd.DataFrame(
        [
            {"first": first, "second": second, "overlap": value, "low": value - 0.1, "high": value + 0.1,
             "expected": 0.01, "n": 24}
            for first, second, value in pairs
        ]
    )  # fmt: skip


def k_curves_frame() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"method": method, "series": series, "k": k, "value": top * k**0.2, "low": top * k**0.2 - 0.02,
             "high": top * k**0.2 + 0.02, "n": 24}
            for method in ("contrast", "omp")
            for series, top in ((method, 0.4), ("random target", 0.1), ("permuted labels", 0.3))
            for k in (1, 4, 16)
        ]
    )  # fmt: skip


def stability_frame() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"emotion": emotion, "rank": rank, "latent": 100 * rank, "frequency": 1 / rank, "expected": 0.004}
            for emotion in ("afraid", "happy")
            for rank in range(1, 5)
        ]
    )


def matched_frame() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"kind": kind, "threshold": threshold, "value": top - threshold / 2, "low": top - threshold / 2 - 0.05,
             "high": top - threshold / 2 + 0.05, "n": 900, "null": 0.02}
            for kind, top in (("cosine", 0.9), ("correlation", 0.8))
            for threshold in (0.3, 0.5, 0.7, 0.9)
        ]
    )  # fmt: skip


def probing_frame() -> pd.DataFrame:
    rows = [
        {"features": name, "k": k, "value": low + 0.02 * k, "low": low, "high": low + 0.04 * k, "n": 24}
        for name, low in (("latents", 0.6), ("residual dimensions", 0.62), ("random latents", 0.5))
        for k in (1, 4)
    ]
    rows.append({"features": "whole residual", "k": 576, "value": 0.95, "low": 0.94, "high": 0.96, "n": 24})
    gain = "latents minus residual dimensions"
    rows.append({"features": gain, "k": 4, "value": -0.02, "low": -0.04, "high": 0.0, "n": 24})
    return pd.DataFrame(rows)


def naming_frame() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    kinds = ["neither", "names", "evokes", "names and evokes"]
    return pd.DataFrame(
        [
            {"emotion": emotion, "latent": 10 * i + j, "kind": kinds[j], "naming": rng.normal(),
             "valence": rng.normal(), "valence_low": -1.0, "valence_high": 1.0, "n_prompts": 12}
            for i, emotion in enumerate(EMOTIONS)
            for j in range(4)
        ]
    )  # fmt: skip


def frontier_frame() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"arm": arm, "damage": level, "effect": gain * level, "low": gain * level - 0.2,
             "high": gain * level + 0.2, "n": 24}
            for arm, gain in (("raw", 2.0), ("k=16", 1.5), ("random", 0.1))
            for level in (0.05, 0.1, 0.5)
        ]
    )  # fmt: skip


def k90_frame() -> pd.DataFrame:
    rows = []
    for emotion, reached in (("afraid", 16), ("sad", None), ("happy", 4)):
        for k in (1, 4, 16):
            value = np.nan if reached is None else min(1.1, k / reached)
            rows.append(
                {"emotion": emotion, "selector": "share", "k": k, "value": value, "low": value - 0.1,
                 "high": value + 0.1, "n": 24, "matches": bool(value >= 1.0)}
            )  # fmt: skip
    return pd.DataFrame(rows)


def specificity_frame() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"emotion": one, "scored": two, "effect": 1.5 if one == two else -0.3, "n": 24}
            for one in EMOTIONS
            for two in EMOTIONS
        ]
    )


def behaviour_frame() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"arm": arm, "emotion": emotion, "level": level, "value": sign * value, "low": sign * value - 0.1,
             "high": sign * value + 0.1, "n": 32, "random_low": -0.2, "random_high": 0.3, "interpreted": True}
            for level in (0.1, 0.5)
            for arm, sign in (("raw", 1), ("sign flip", -1))
            for emotion, value in (("happy", 0.8), ("sad", -0.5), ("calm", 0.1))
        ]
    )  # fmt: skip


def carriers_frame() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"what": what, "site": f"resid_post.{layer}", "layer": layer, "where": where, "recovered": top * layer / 4,
             "low": top * layer / 4 - 0.1, "high": top * layer / 4 + 0.1, "n": 60}
            for what, top in (("residual", 1.0), ("direction", 0.4), ("k=16", 0.3), ("random latents", 0.02))
            for where in ("changed word", "last token")
            for layer in range(4)
        ]
    )  # fmt: skip


def dots_frame() -> pd.DataFrame:
    return pd.DataFrame(
        {"check": ["one", "one", "two"], "number": ["top-1", "r", "with nothing"], "value": [0.6, -0.2, np.nan],
         "low": [0.5, np.nan, np.nan], "high": [0.7, np.nan, np.nan], "null": [0.04, 0.0, np.nan], "n": [192, 171, 5]}
    )  # fmt: skip


def card_frame() -> pd.DataFrame:
    dots = dots_frame().rename(columns={"check": "title"})
    return dots.assign(check="topics", headline=[True, False, True])


def curves_frame() -> pd.DataFrame:
    return learning_frame().rename(columns={"measure": "series", "topics": "x"})


def matrix_frame() -> pd.DataFrame:
    cells = specificity_frame().rename(columns={"emotion": "row", "scored": "column", "effect": "value"})
    order = {name: i for i, name in enumerate(EMOTIONS)}
    return cells.assign(
        low=np.nan, high=np.nan, row_order=cells["row"].map(order), column_order=cells["column"].map(order)
    )


def scatter_frame() -> pd.DataFrame:
    table = naming_frame()
    return pd.DataFrame(
        {"label": table["emotion"], "x": table["naming"], "y": table["valence"], "low": -1.0, "high": np.nan,
         "group": table["kind"]}
    )  # fmt: skip


def outcomes_frame() -> pd.DataFrame:
    rows = [
        {"outcome": outcome, "masked": masked, "level": 0.5, "arm": arm, "value": value * (0.8 if masked else 1),
         "low": value - 0.3, "high": value + 0.3, "n": 6}
        for outcome in ("valence", "probe", "judge")
        for masked in (False, True)
        for arm, value in (("raw", 0.9), ("k=16", 0.7), ("random", 0.05), ("instruction", 1.4))
    ]  # fmt: skip
    return pd.DataFrame(rows)


FRAMES: dict[str, Callable[[], pd.DataFrame]] = {
    "vector_map": vector_map_frame,
    "similarity": similarity_frame,
    "families": families_frame,
    "spectrum": spectrum_frame,
    "site_sweep": site_sweep_frame,
    "learning_curve": learning_frame,
    "scenario_matrix": scenario_frame,
    "trends": trends_frame,
    "rsa": rsa_frame,
    "language_transfer": language_frame,
    "logit_lens": lens_frame,
    "token_heat": token_frame,
    "composition": composition_frame,
    "latents_by_emotion": latents_frame,
    "latent_dashboard": dashboard_frame,
    "agreement": agreement_frame,
    "k_curves": k_curves_frame,
    "stability": stability_frame,
    "matched": matched_frame,
    "probing": probing_frame,
    "naming": naming_frame,
    "dose_curves": dose_frame,
    "frontier": frontier_frame,
    "k90": k90_frame,
    "specificity": specificity_frame,
    "text_outcomes": outcomes_frame,
    "behaviour": behaviour_frame,
    "patching": patching_frame,
    "carriers": carriers_frame,
    "score_card": card_frame,
    "score_dots": dots_frame,
    "curves": curves_frame,
    "matrix": matrix_frame,
    "scatter": scatter_frame,
}
