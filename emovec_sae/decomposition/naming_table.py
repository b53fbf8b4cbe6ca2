"""The table of naming against evoking: every latent's numbers beside those of random latents that fire as often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from emovec_sae.decomposition.intervals import group_intervals
from emovec_sae.decomposition.naming_effect import Effects, Stage
from emovec_sae.errors import ConfigError
from emovec_sae.stats import bootstrap_ratio, permutation_p

if TYPE_CHECKING:
    from emovec_sae.decomposition.naming_words import WordTokens
    from emovec_sae.models.model import Model
    from emovec_sae.saes.coder import SparseCoder

NULLED = ("naming", "kept", "held_out", "valence")
"""Numbers that are held against matched random latents."""
LEAST = 20
"""Matched latents that a row is held against, if there are so many."""
NEAR = 20
"""A random latent is drawn among so many whose firing rates are nearest."""
_VALUES = 2**26

Wanted = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Emotion -> latents and their coefficients."""


@dataclass(frozen=True, eq=False)
class _Numbers:
    """Numbers of L signed latents for n emotions; all (L, n) but those with prompts, (L, n, P)."""

    naming: np.ndarray
    naming_auroc: np.ndarray
    effects: Effects

    @property
    def kept(self) -> np.ndarray:
        """Share of the divergence, both averaged over prompts, that is left without the own words."""
        return self.effects.rest.mean(2) / np.maximum(self.effects.kl.mean(2), 1e-30)

    def of(self, name: str) -> np.ndarray:
        """One of `NULLED`, shape (L, n)."""
        if name in ("naming", "kept"):
            return getattr(self, name)
        return getattr(self.effects, name).mean(2)


def matched_pool(wanted: Wanted, rates: np.ndarray, *, n: int, seed: int) -> np.ndarray:
    """Random live latents outside the decomposition that fire about as often as those in it, ascending.

    Raises
    ------
    ConfigError
        If no live latent is left.
    """
    chosen = np.unique(np.concatenate([latents for latents, _ in wanted.values()]))
    left = np.setdiff1d(np.flatnonzero(rates > 0), chosen)
    if len(left) == 0:
        raise ConfigError("every live latent is in the decomposition; ask for a smaller k to leave some for the null")
    rng = np.random.default_rng(seed)
    found: set[int] = set()
    order = rng.permutation(np.resize(rng.permutation(chosen), max(4 * n, len(chosen))))
    for latent in order.tolist():
        rest = np.array([one for one in left if one not in found])
        if len(found) >= n or len(rest) == 0:
            break
        far = _distance(rates[rest], float(rates[latent]))
        found.add(int(rng.choice(rest[np.argsort(far, kind="stable")[:NEAR]])))
    return np.array(sorted(found))


def naming_rows(
    wanted: Wanted,
    words: Sequence[WordTokens],
    stage: Stage,
    coder: SparseCoder,
    model: Model,
    *,
    rates: np.ndarray,
    pool: np.ndarray,
    length: float,
    seed: int,
) -> pd.DataFrame:
    """The rows of `Naming.frame`, but for their kind."""
    pairs = sorted({(int(j), _sign(c)) for some in wanted.values() for j, c in zip(*some, strict=True)})
    place = {pair: row for row, pair in enumerate(pairs)}
    tried = _try(pairs, words, stage, coder, model, length)
    chance = {
        sign: _try([(int(j), sign) for j in pool], words, stage, coder, model, length)
        for sign in sorted({sign for _, sign in pairs})
    }
    rows: list[dict[str, object]] = []
    for e, (name, (latents, coefficients)) in enumerate(wanted.items()):
        for rank, (latent, coefficient) in enumerate(zip(latents, coefficients, strict=True), start=1):
            sign = _sign(coefficient)
            near = np.argsort(_distance(rates[pool], float(rates[latent])), kind="stable")[: max(LEAST, len(pool) // 3)]
            about = {
                "emotion": name, "rank": rank, "latent": int(latent), "coefficient": float(coefficient),
                "firing_rate": float(rates[latent]),
            }  # fmt: skip
            own = _own(tried, place[int(latent), sign], e, seed)
            rows.append({**about, **own, **_against(tried, place[int(latent), sign], chance[sign], near, e)})
    return pd.DataFrame(rows)


def _own(tried: _Numbers, row: int, e: int, seed: int) -> dict[str, object]:
    """A latent's numbers for one emotion, with intervals over prompts."""
    effects = tried.effects
    kl, rest = effects.kl[row, 0], effects.rest[row, e]
    share = bootstrap_ratio(rest, kl, seed=seed)
    found: dict[str, object] = {
        "kl": float(kl.mean()), "rest": float(rest.mean()), "kept": float(tried.kept[row, e]),
        "kept_low": share.low, "kept_high": share.high, "naming": float(tried.naming[row, e]),
        "naming_auroc": float(tried.naming_auroc[row, e]), "n_prompts": len(kl),
    }  # fmt: skip
    for name in ("own", "held_out", "valence"):
        values = getattr(effects, name)[row, e]
        low, high = group_intervals(values[None], values.mean(keepdims=True), seed=seed)
        found |= {name: float(values.mean()), f"{name}_low": float(low[0]), f"{name}_high": float(high[0])}
    return found


def _against(tried: _Numbers, row: int, chance: _Numbers, near: np.ndarray, e: int) -> dict[str, object]:
    """Mean, band and one-sided p of the matched latents for each of `NULLED`."""
    found: dict[str, object] = {"n_null": len(near)}
    for name in NULLED:
        value, null = tried.of(name)[row, e], chance.of(name)[near, e]
        known = bool(np.isfinite(value)) and bool(np.isfinite(null).all())
        low, high = np.quantile(null, [0.025, 0.975]) if known else (np.nan, np.nan)
        found |= {
            f"{name}_null_mean": float(null.mean()), f"{name}_null_low": float(low), f"{name}_null_high": float(high),
            f"{name}_p": float(permutation_p(value, null)) if known else float("nan"),
        }  # fmt: skip
    return found


def _try(
    pairs: Sequence[tuple[int, int]],
    words: Sequence[WordTokens],
    stage: Stage,
    coder: SparseCoder,
    model: Model,
    length: float,
) -> _Numbers:
    """Numbers of signed latents for every emotion."""
    import torch

    rows = coder.directions[torch.tensor([latent for latent, _ in pairs], device=coder.device)]
    rows = rows * torch.tensor([sign for _, sign in pairs], device=coder.device)[:, None]
    naming, auroc = direct_effect(rows.cpu(), model.unembedding(), [one.naming for one in words])
    return _Numbers(naming, auroc, stage.effects(length * rows, words))


def direct_effect(rows: object, unembedding: object, words: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """How much rows write some tokens, among the whole vocabulary.

    Parameters
    ----------
    rows
        Unit rows, shape (L, d).
    unembedding
        Shape (vocabulary, d), the last norm's gain folded in.
    words
        Tokens of each of n emotions.

    Returns
    -------
    z, auroc
        Shape (L, n): the mean logit of the tokens as a z-score among all tokens; how often one of them stands above a
        token of the vocabulary that is not among them.
    """
    import torch

    every, table = torch.as_tensor(rows).float(), torch.as_tensor(unembedding).float()
    z, area = np.empty((len(every), len(words))), np.empty((len(every), len(words)))
    step = max(1, _VALUES // len(table))
    for first in range(0, len(every), step):
        logits = every[first : first + step] @ table.T
        here = slice(first, first + len(logits))
        ordered = logits.sort(dim=1).values
        mean, spread = logits.mean(1), logits.std(1).clamp_min(1e-30)
        for e, tokens in enumerate(words):
            own = logits[:, list(tokens)].contiguous()
            z[here, e] = ((own.mean(1) - mean) / spread).numpy()
            below = torch.searchsorted(ordered, own).double() + torch.searchsorted(ordered, own, right=True).double()
            n, others = len(tokens), len(table) - len(tokens)
            # Every own token meets itself and its fellows too: half of n^2 of these pairs count as won.
            area[here, e] = ((below.sum(1) / 2 - n * n / 2) / (n * others)).numpy()
    return z, area


def _sign(coefficient: float) -> int:
    return -1 if coefficient < 0 else 1


def _distance(rates: np.ndarray, rate: float) -> np.ndarray:
    """How far firing rates are apart, in log units; a latent that never fires counts as the rarest of all."""
    least = 1e-9
    return np.abs(np.log(np.maximum(rates, least)) - np.log(max(rate, least)))
