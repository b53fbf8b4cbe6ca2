"""Stage: portraits of what leads the vectors: texts read token by token, and the latents by what they fire on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from emovec_sae.studies.context import Context
from emovec_sae.studies.stage import Progress, Run
from emovec_sae.studies.tables import write_table

READOUT = "centred_cosine"
"""How a token is read: it depends neither on the other tokens nor on the token's norm."""

_TOKENS, _LATENTS, _PASSAGES, _BINS, _TOP = 90, 4, 100, 20, 8


def portraits_stage(run: Run, context: Context) -> None:
    """Read two texts by two directions, and draw up what the leading latents are."""

    def work(progress: Progress) -> None:
        """Write both tables."""
        write_table(context.path, "token_heat", token_table(context))
        progress(1, 2)
        write_table(context.path, "latent_dashboard", dashboard_table(context))
        progress(2, 2)

    settings = {"readout": READOUT, "shown": context.study.decomposition.shown, "emotions": _pair(context)}
    run.stage(
        "portraits",
        "read texts token by token, and the leading latents",
        settings=settings,
        after=["directions", "sae", "decomposition"],
        outputs=["tables/token_heat.parquet", "tables/latent_dashboard.parquet"],
        work=work,
    )


def token_table(context: Context) -> pd.DataFrame:
    """The first text of two emotions, read by both directions: text, reader, position, token, score.

    Tokens that are not pooled have no score.
    """
    frame, pair = context.acts.frame, _pair(context)
    first = [int(np.flatnonzero((frame["emotion"] == emotion).to_numpy())[0]) for emotion in pair]
    acts = context.acts.where(first)
    rows = acts.frame["emotion"].astype(str).tolist()
    parts: dict[int, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {row: [] for row in range(len(rows))}
    for chunk in acts[context.site].tokens():
        for row in parts:
            here = chunk.text == row
            if here.any():
                parts[row].append((chunk.token_id[here], chunk.values[here], chunk.pooled[here]))
    directions, tables = context.directions, []
    for row, emotion in enumerate(rows):
        ids, values, pooled = (np.concatenate(column)[:_TOKENS] for column in zip(*parts[row], strict=True))
        scores = directions.read(values, readout=READOUT)
        words = context.model.token_strings([int(one) for one in ids])
        for reader in pair:
            own = np.where(pooled, scores[:, directions.index(reader)], np.nan)
            about = {"text": f"{emotion}, {acts.frame['id'].iloc[row]}", "reader": reader}
            tables.append(pd.DataFrame({**about, "position": np.arange(len(ids)), "token": words, "score": own}))
    return pd.concat(tables, ignore_index=True)


def dashboard_table(context: Context) -> pd.DataFrame:
    """What each leading latent is; see `emovec_sae.charts.latent_dashboard` for the columns."""
    from emovec_sae.decomposition.latent_tokens import decoder_tokens

    ranks = context.decomposition("contrast").frame()
    leading = ranks[ranks["emotion"].isin(_pair(context))].sort_values("rank", kind="stable")
    chosen = np.array(sorted(list(dict.fromkeys(leading["latent"].astype(int)))[:_LATENTS]))
    peaks, fired, n_tokens = _read(context, chosen)
    tokens = decoder_tokens(
        context.coder.directions[chosen], context.model.unembedding(), context.model.token_strings, top=_TOP,
        ids=chosen.tolist(),
    )  # fmt: skip
    emotions = context.acts.frame["emotion"].astype(str).to_numpy()
    rows: list[dict[str, Any]] = []
    for place, latent in enumerate(chosen.tolist()):
        words = tokens[(tokens["latent"] == latent) & (tokens["side"] == "up")].sort_values("rank")
        base = {"latent": latent, "label": f"L{latent}", "firing_rate": len(fired[place]) / n_tokens}
        bars = [*_bins(fired[place]), *_strongest(peaks[:, place], emotions)]
        bars += [
            ("token", token, logit, at, 1)
            for at, (token, logit) in enumerate(zip(words["token"], words["logit"], strict=True))
        ]
        rows += [
            {**base, "panel": panel, "name": str(name), "value": float(value), "order": order, "n": n}
            for panel, name, value, order, n in bars
        ]
    return pd.DataFrame(rows)


def _read(context: Context, chosen: np.ndarray) -> tuple[np.ndarray, list[np.ndarray], int]:
    """Peaks (texts, latents), the activations above 0 of each latent, and how many tokens were read."""
    from emovec_sae.decomposition.passages import columns

    peaks = np.zeros((len(context.acts.frame), len(chosen)))
    fired: list[list[np.ndarray]] = [[] for _ in chosen]
    count = 0
    for chunk in context.acts[context.site].tokens():
        active = columns(context.coder, chunk.values, chosen) * chunk.pooled[:, None]
        np.maximum.at(peaks, chunk.text, active)
        for place, own in enumerate(active.T):
            fired[place].append(own[own > 0])
        count += int(chunk.pooled.sum())
    return peaks, [np.concatenate(parts) for parts in fired], max(count, 1)


def _bins(values: np.ndarray) -> list[tuple[str, str, float, int, int]]:
    if len(values) == 0:
        return []
    counts, edges = np.histogram(values, bins=_BINS, range=(0.0, float(values.max())))
    return [
        ("activation", f"{edge:.6g}", count / len(values), at, len(values))
        for at, (edge, count) in enumerate(zip(edges[:-1], counts, strict=True))
    ]


def _strongest(peaks: np.ndarray, emotions: np.ndarray) -> list[tuple[str, str, float, int, int]]:
    """Emotions of the texts with the highest peaks, the most frequent first."""
    best = np.argsort(-peaks, kind="stable")[:_PASSAGES]
    best = best[peaks[best] > 0]
    counts = pd.Series(emotions[best]).value_counts(sort=True)
    return [("emotion", str(name), float(n), at, len(best)) for at, (name, n) in enumerate(counts.head(_TOP).items())]


def _pair(context: Context) -> list[str]:
    """The emotion that the study shows, and the next one of its arms."""
    shown = context.study.decomposition.shown
    other = [one for one in context.study.interventions.arms_for if one != shown]
    return [shown, *other[:1]]
