"""Read what a latent is: passages, tokens of its decoder row, the emotions that it tells apart, what others call it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.decomposition.labels import neuronpedia_link
from emovec_sae.decomposition.latent_tokens import TokenStrings, decoder_tokens
from emovec_sae.decomposition.passages import Pass, Passage, one_pass
from emovec_sae.decomposition.telling import telling_frame
from emovec_sae.errors import ConfigError
from emovec_sae.provenance import collect, write_json

if TYPE_CHECKING:
    import altair as alt
    import torch

    from emovec_sae.saes.coder import SparseCoder
    from emovec_sae.store.site_view import SiteActivations


@dataclass(frozen=True, eq=False)
class Reading:
    """What was read of chosen latents.

    Attributes
    ----------
    latents
        The latents, m of them.
    passages
        By falling peak within a latent; a latent that never fires has none.
    firing_rate
        Share of the read tokens on which each fires, shape (m,).
    telling
        The emotions that each tells apart; see `emovec_sae.decomposition.telling.telling_frame`.
    tokens
        Tokens that each decoder row raises and lowers; see `decoder_tokens`. Without rows where no unembedding was
        given.
    links, labels
        Page on Neuronpedia, and label from the user's file, of the latents that have one.
    n_tokens
        Tokens read.
    provenance
        Who read what.
    """

    latents: tuple[int, ...]
    passages: tuple[Passage, ...]
    firing_rate: np.ndarray
    telling: pd.DataFrame
    tokens: pd.DataFrame
    links: Mapping[int, str]
    labels: Mapping[int, str]
    n_tokens: int
    provenance: dict[str, Any]

    def of(self, latent: int) -> list[Passage]:
        """The passages of one latent, strongest first."""
        return [passage for passage in self.passages if passage.latent == latent]

    def frame(self) -> pd.DataFrame:
        """One row a passage: latent, rank, peak, emotion, group, id, passage (text), firing_rate."""
        rates = dict(zip(self.latents, self.firing_rate.tolist(), strict=True))
        rows = [
            (p.latent, rank, p.peak, p.emotion, p.group, p.id, "".join(p.tokens), rates[p.latent])
            for latent in self.latents
            for rank, p in enumerate(self.of(latent), start=1)
        ]
        columns = ["latent", "rank", "peak", "emotion", "group", "id", "passage", "firing_rate"]
        return pd.DataFrame(rows, columns=columns)

    def plot(self) -> alt.VConcatChart:
        """Draw the emotions that each latent tells apart, a panel a latent.

        Raises
        ------
        ConfigError
            If the texts have fewer than two emotions.
        """
        from emovec_sae.charts import draw

        named = [f"L{latent}  {self.labels.get(latent, '')}".strip() for latent in self.telling["latent"]]
        frame = pd.DataFrame(
            {
                "check": named, "number": self.telling["emotion"], "value": self.telling["auroc"],
                "low": self.telling["low"], "high": self.telling["high"], "null": 0.5, "n": self.telling["n_texts"],
            }
        )  # fmt: skip
        return draw("score_dots", frame, title="Emotions that latents tell apart (AUROC of text means)")

    def card(self, latent: int) -> dict[str, Any]:
        """All about one latent, JSON-serialisable: what `save` writes of it."""
        place = self.latents.index(latent)
        own = self.tokens[self.tokens["latent"] == latent]
        telling = self.telling[self.telling["latent"] == latent].drop(columns="latent")
        return {
            "latent": latent,
            "label": self.labels.get(latent),
            "link": self.links.get(latent),
            "firing_rate": float(self.firing_rate[place]),
            "emotions": telling.to_dict("records"),
            "tokens": {side: own[own["side"] == side]["token"].tolist() for side in ("up", "down")},
            "passages": [_passage(p) for p in self.of(latent)],
        }

    def text(self, *, passages: int = 3) -> str:
        """The cards for people; in passages ``[...]`` marks the tokens on which the latent is active."""
        return "\n\n".join(_told(self.card(latent), passages) for latent in self.latents)

    def save(self, path: str | Path) -> Path:
        """Write the cards, passages with their tokens and activations, as JSON, atomically."""
        cards = [self.card(latent) for latent in self.latents]
        return write_json(path, {"latents": cards, "n_tokens": self.n_tokens, "provenance": self.provenance})


def read_latents(
    coder: SparseCoder,
    acts: SiteActivations,
    latents: Sequence[int],
    *,
    detokenize: TokenStrings,
    unembedding: torch.Tensor | np.ndarray | None = None,
    labels: Mapping[int, str] | None = None,
    passages: int = 8,
    window: int = 20,
    top: int = 5,
    seed: int = 0,
) -> Reading:
    """Read latents in one streaming pass over the tokens that pool ``mean`` averaged.

    Parameters
    ----------
    coder
        The SAE.
    acts
        A site with tokens.
    latents
        Which latents.
    detokenize
        Token ids to one string a token, such as ``model.token_strings``.
    unembedding
        With the final norm's gain folded in, shape (vocab, d), such as ``model.unembedding()``: for the tokens that
        decoder rows raise.
    labels
        What is known about latents already, such as `emovec_sae.decomposition.labels.read_labels` gives.
    passages
        Passages a latent, each from another text.
    window
        Tokens kept on either side of the peak.
    top
        Emotions a latent.
    seed
        Of the permutations behind the emotions' p values.

    Raises
    ------
    ConfigError
        If the SAE has no such latent, or none is asked for.
    MismatchError, StoreError
        If the site is another one, or its tokens were not recorded.
    """
    coder.require(site=acts.site, d_model=int(acts.activations.model["d_model"]), model=acts.activations.model)
    chosen = np.array(sorted(set(map(int, latents))), dtype=np.int64)
    if len(chosen) == 0 or chosen[0] < 0 or chosen[-1] >= coder.d_sae:
        raise ConfigError(f"latents must be some of 0 to {coder.d_sae - 1}, got {chosen.tolist() or 'none'}")
    seen = one_pass(coder, acts, chosen, passages=passages, window=window)
    frame, names = acts.activations.frame, [int(latent) for latent in chosen]
    links = {latent: neuronpedia_link(coder, latent) for latent in names}
    return Reading(
        latents=tuple(names),
        passages=_passages(frame, seen, names, detokenize),
        firing_rate=seen.fired / max(seen.n_tokens, 1),
        telling=_telling(frame, seen.means, names, top=top, seed=seed),
        tokens=_tokens(coder, names, unembedding, detokenize),
        links={latent: link for latent, link in links.items() if link},
        labels={latent: label for latent, label in (labels or {}).items() if latent in names},
        n_tokens=seen.n_tokens,
        provenance=collect(seed=seed, sae=coder.fingerprint, activations=acts.activations.fingerprint),
    )


def _passages(frame: pd.DataFrame, seen: Pass, names: list[int], detokenize: TokenStrings) -> tuple[Passage, ...]:
    return tuple(
        Passage(
            latent=names[place],
            id=str(frame["id"].iloc[row]),
            emotion=_label(frame, "emotion", row),
            group=_label(frame, "group", row),
            peak=peak,
            tokens=tuple(detokenize([int(token) for token in tokens])),
            activations=tuple(float(value) for value in values),
        )
        for place, kept in enumerate(seen.strongest)
        for peak, row, tokens, values in kept
    )


def _telling(frame: pd.DataFrame, means: np.ndarray, names: list[int], *, top: int, seed: int) -> pd.DataFrame:
    """Of the texts that have a label and a pooled token."""
    emotion = frame["emotion"] if "emotion" in frame else pd.Series([None] * len(frame))
    rows = np.flatnonzero(emotion.notna().to_numpy() & np.isfinite(means).all(axis=1))
    group = frame["group"] if "group" in frame else frame["id"]
    emotions, groups = emotion.iloc[rows].astype(str).tolist(), group.iloc[rows].astype(str).tolist()
    return telling_frame(means[rows], emotions, groups, latents=names, top=top, seed=seed)


def _tokens(
    coder: SparseCoder, names: list[int], unembedding: torch.Tensor | np.ndarray | None, detokenize: TokenStrings
) -> pd.DataFrame:
    if unembedding is None:
        return pd.DataFrame(columns=["latent", "side", "rank", "token_id", "token", "logit"])
    return decoder_tokens(coder.directions[names], unembedding, detokenize, ids=names)


def _passage(found: Passage) -> dict[str, Any]:
    pieces = zip(found.tokens, found.activations, strict=True)
    about = {"id": found.id, "emotion": found.emotion, "group": found.group, "peak": found.peak}
    return about | {"pieces": [{"token": token, "activation": value} for token, value in pieces]}


def _told(card: Mapping[str, Any], passages: int) -> str:
    lines = [f"latent {card['latent']}  fires on {card['firing_rate']:.2%} of the tokens"]
    lines += [f"  {name}: {card[name]}" for name in ("label", "link") if card[name]]
    for side, tokens in card["tokens"].items():
        if tokens:
            lines.append(f"  {side}: {' '.join(repr(token) for token in tokens)}")
    for one in card["emotions"]:
        ends = f"[{one['low']:.2f}, {one['high']:.2f}]"
        lines.append(f"  {one['emotion']}: AUROC {one['auroc']:.2f} {ends}, n = {one['n_texts']}, p = {one['p']:.2g}")
    for one in card["passages"][:passages]:
        marked = "".join(f"[{p['token']}]" if p["activation"] else p["token"] for p in one["pieces"])
        lines.append(f"  {one['peak']:.1f}  {one['id']}: {' '.join(marked.split())}")
    return "\n".join(lines)


def _label(frame: pd.DataFrame, column: str, row: int) -> str | None:
    value = frame[column].iloc[row] if column in frame else None
    return None if value is None or pd.isna(value) else str(value)
