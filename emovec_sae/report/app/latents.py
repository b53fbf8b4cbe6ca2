"""Dashboards of latents: what the run's files say of each, and the tokens that its decoder row writes."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from emovec_sae.report.app.texts import check_latent
from emovec_sae.report.words import visible

if TYPE_CHECKING:
    from emovec_sae.report.app.material import Material

TOKENS = 10
_KEPT = 256


class Dashboards:
    """Reads latents one at a time.

    Parameters
    ----------
    material
        The run.
    """

    def __init__(self, material: Material) -> None:
        self.material = material
        self._unembedding: Any = None
        self.tokens = lru_cache(_KEPT)(self._tokens)

    def card(self, latent: int) -> dict[str, Any]:
        """All that is known of a latent.

        Returns
        -------
        dict
            latent, firing_rate (share of the tokens, or None), dense, emotions (emotion, share, low, high, rank, by
            falling size), up and down (tokens), passages (emotion, id, pieces, largest), kept (whether the run kept
            passages of it).

        Raises
        ------
        ConfigError
            If the SAE has no such latent.
        """
        check_latent(self.material, latent)
        rates, kept = self.material.contrast.firing_rate, self.material.cards.get(latent)
        rate = None if rates is None else float(rates[latent])
        ranks = self.material.contrast.frame()
        own = ranks[ranks["latent"] == latent].sort_values("share", key=abs, ascending=False)
        columns = ["emotion", "share", "low", "high", "rank"]
        passages = [] if kept is None else [_passage(one) for one in kept.passages]
        return {
            "latent": latent,
            "firing_rate": rate,
            "dense": rate is not None and rate > 0.1,
            "emotions": own[columns].to_dict("records"),
            **self.tokens(latent),
            "passages": passages,
            "kept": kept is not None,
        }

    def listed(self) -> list[dict[str, Any]]:
        """Latents that lead an emotion: emotion, and its latents by rank; those with passages first to last."""
        ranks = self.material.contrast.frame()
        ranks = ranks[~ranks["dense"].fillna(value=False).astype(bool)].sort_values("rank")
        return [
            {"emotion": emotion, "latents": [int(one) for one in own["latent"].head(TOKENS)]}
            for emotion, own in ranks.groupby("emotion", sort=False)
        ]

    def _tokens(self, latent: int) -> dict[str, list[str]]:
        from emovec_sae.decomposition.latent_tokens import decoder_tokens

        model, coder = self.material.model, self.material.coder
        if self._unembedding is None:
            self._unembedding = model.unembedding()
        rows = coder.directions[[latent]].cpu()
        found = decoder_tokens(rows, self._unembedding, model.token_strings, top=TOKENS)
        return {
            side: [visible(token) for token in found[found["side"] == side].sort_values("rank")["token"]]
            for side in ("up", "down")
        }


def _passage(one: Any) -> dict[str, Any]:
    return {
        "emotion": one.emotion,
        "id": one.id,
        "pieces": [piece.token for piece in one.pieces],
        "values": [piece.activation for piece in one.pieces],
        "largest": max((piece.activation for piece in one.pieces), default=0.0),
    }
