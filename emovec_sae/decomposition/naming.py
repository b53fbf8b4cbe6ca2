"""Naming against evoking: whether a latent only writes the emotion's word, or does more of what the emotion does.

Some latents do no more than emit a word (arXiv 2605.18808). For each latent of a decomposition, in the direction of its
coefficient:

- **naming**: its direct effect on the emotion's own words (name and `tune` words), read off the unembedding with the
  last norm's gain: their mean logit as a z-score among the whole vocabulary (`naming`), and how often an own token
  stands above another (`naming_auroc`).
- **what remains**: the latent is added to the residual at every token of neutral prompts, at one strength for all, and
  the next-token distribution is read. `kept` is the share of the divergence that is left once the own words are masked
  and the rest renormalised.
- **evoking**: among what remains, the change in the log-odds of other emotions' words of the same side of valence
  against the other side (`valence`), and of the emotion's held-out words against those of other emotions (`held_out`).

The null of each number are random latents with firing rates like the latent's, added with the same sign and length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.corpora.prompts import load_prompts
from emovec_sae.decomposition.naming_effect import Stage
from emovec_sae.decomposition.naming_table import NULLED, matched_pool, naming_rows
from emovec_sae.decomposition.naming_words import word_tokens
from emovec_sae.errors import ConfigError, MismatchError
from emovec_sae.provenance import collect, write_json

if TYPE_CHECKING:
    import altair as alt

    from emovec_sae.decomposition.naming_words import WordTokens
    from emovec_sae.decomposition.result import Decomposition
    from emovec_sae.models.model import Model
    from emovec_sae.saes.coder import SparseCoder

PROMPTS = 12
"""Packaged prompts that are used where none are given: stems at which a feeling word is due, marked `report`."""
LEVEL = 0.05
"""Level at which a latent is said to name or to evoke."""


@dataclass(frozen=True, eq=False, repr=False)
class Naming:
    """What `naming` found.

    Attributes
    ----------
    table
        One row a latent of an emotion; see `frame`.
    settings
        Strength, residual norm, prompts, null latents: what a reader needs to repeat it.
    provenance
        Who made it, from what.
    """

    table: pd.DataFrame
    settings: dict[str, Any]
    provenance: dict[str, Any]

    def __repr__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.table["kind"].value_counts().items())
        return f"Naming({len(self.table)} latents of {self.table['emotion'].nunique()} emotions: {kinds})"

    def frame(self) -> pd.DataFrame:
        """One row a latent of an emotion.

        Returns
        -------
        pandas.DataFrame
            emotion, rank, latent, coefficient, firing_rate, kl, rest (nats), kept with kept_low and kept_high (over
            prompts); naming, naming_auroc, own, held_out, valence, the last three with intervals over prompts; for each
            number N of naming, kept, held_out and valence N_null_mean, N_null_low, N_null_high (95 % of the matched
            latents) and N_p (one-sided: as large by chance); n_null, n_prompts; kind (``names``, ``evokes``,
            ``names and evokes``, ``neither``: naming_p and valence_p at most 0.05).
        """
        return self.table.copy()

    def summary(self) -> pd.DataFrame:
        """One row an emotion: latents, how many name, evoke, do both or neither, mean kept and its null."""
        kinds = pd.crosstab(self.table["emotion"], self.table["kind"])
        counts = kinds.reindex(columns=["names", "evokes", "names and evokes", "neither"], fill_value=0)
        means = self.table.groupby("emotion")[["kept", "kept_null_mean"]].mean()
        found = pd.concat([self.table.groupby("emotion").size().rename("latents"), counts, means], axis=1)
        return found.loc[list(dict.fromkeys(self.table["emotion"]))].reset_index(names="emotion")

    def plot(self) -> alt.LayerChart:
        """Draw evoking against naming, a point a latent of an emotion.

        Raises
        ------
        ConfigError
            If no emotion has a number of evoking.
        """
        from emovec_sae.charts import draw

        return draw("naming", self.table, strength=float(self.settings["strength"]))

    def caption(self) -> str:
        """The counts, for below the figure."""
        told = self.facts()
        return (
            f"{told['latents']} latents of {told['emotions']} emotions: {told['names']} name, {told['evokes']} evoke, "
            f"{told['names_and_evokes']} do both (p at most {LEVEL} against random latents that fire as often). With "
            f"the emotion's own words masked {told['kept']:.0%} of the divergence is left, of random latents' "
            f"{told['kept_null']:.0%}. Bars: 95 % intervals over {len(self.settings['prompts'])} prompts."
        )

    def facts(self) -> dict[str, Any]:
        """Counts of kinds, and the mean of `kept` with its null, for machines."""
        kinds = self.table["kind"].value_counts()
        return {
            "latents": len(self.table),
            "emotions": int(self.table["emotion"].nunique()),
            **{name.replace(" ", "_"): int(kinds.get(name, 0)) for name in ("names", "evokes", "names and evokes")},
            "kept": float(self.table["kept"].mean()),
            "kept_null": float(self.table["kept_null_mean"].mean()),
            "strength": self.settings["strength"],
        }

    def save(self, path: str | Path) -> Path:
        """Write table, summary, settings and provenance as one JSON file, atomically."""
        told = {"table": _records(self.table), "summary": _records(self.summary())}
        return write_json(path, {**told, "settings": self.settings, "provenance": self.provenance})


def naming(
    found: Decomposition,
    sae: SparseCoder,
    model: Model,
    *,
    emotions: Sequence[str] | None = None,
    k: int | None = None,
    prompts: Sequence[str] | None = None,
    strength: float = 0.2,
    nulls: int = 128,
    words: Sequence[WordTokens] | None = None,
    seed: int = 0,
) -> Naming:
    """Tell latents that name an emotion from latents that evoke it.

    Parameters
    ----------
    found
        A decomposition that knows firing rates (made with activations).
    sae, model
        Its SAE and its model.
    emotions
        Of the decomposition; None means all.
    k
        Latents an emotion; None means all that it has.
    prompts
        Neutral texts after which a word is due; None means twelve packaged stems.
    strength
        Length that is added, in units of the mean residual norm over the prompts' tokens.
    nulls
        Random latents of each sign, none of them in the decomposition; each row is held against the third of them
        (at least 20) whose firing rates are nearest.
    words
        Tokens of each emotion; None means `word_tokens`.
    seed
        Of the random latents and of intervals.

    Raises
    ------
    MismatchError
        If SAE or model are not those of the decomposition.
    ConfigError
        If an option makes no sense, or the decomposition knows no firing rates.
    """
    names = list(found.emotions if emotions is None else emotions)
    rates = _checked(found, sae, model, strength=strength, nulls=nulls)
    k = found.k if k is None else k
    wanted = {name: found.latents(name, k) for name in names}
    tokens = word_tokens(model, names) if words is None else list(words)
    given = list(load_prompts(kind=("word_third", "word_first"), use="report")["text"][:PROMPTS])
    texts = given if prompts is None else list(prompts)
    if not texts:
        raise ConfigError("there are no prompts; naming needs some texts to run the model on")
    stage = Stage(model, texts, sae.site)
    pool = matched_pool(wanted, rates, n=nulls, seed=seed)
    table = naming_rows(
        wanted, tokens, stage, sae, model, rates=rates, pool=pool, length=strength * stage.residual_norm, seed=seed
    )
    return Naming(
        table.assign(kind=_kinds(table)),
        {
            "strength": strength, "residual_norm": stage.residual_norm, "prompts": texts, "nulls": len(pool),
            "nulled": list(NULLED), "level": LEVEL, "site": str(sae.site), "k": k,
        },
        collect(seed=seed, model=dict(found.model), sae=sae.fingerprint, decomposition=dict(found.provenance)),
    )  # fmt: skip


def _checked(found: Decomposition, sae: SparseCoder, model: Model, *, strength: float, nulls: int) -> np.ndarray:
    if sae.fingerprint != found.sae_fingerprint:
        raise MismatchError(
            f"SAE '{sae.name}' is not the one of the decomposition ('{found.sae}'): its latents have other numbers"
        )
    theirs = found.model.get("fingerprint")
    if theirs and theirs != model.fingerprint:
        raise MismatchError(
            f"the decomposition comes from model '{found.model.get('name')}' ({str(theirs)[:12]}), this is "
            f"'{model.name}' ({model.fingerprint[:12]})"
        )
    if found.firing_rate is None or not np.isfinite(found.firing_rate).all():
        raise ConfigError("this decomposition knows no firing rates; decompose with the activations to match the null")
    if not strength > 0:
        raise ConfigError(f"strength is {strength}; a length above 0 is added, such as 0.2")
    if nulls < 1:
        raise ConfigError(f"nulls is {nulls}; at least one random latent is needed")
    return found.firing_rate


def _kinds(table: pd.DataFrame) -> np.ndarray:
    names, evokes = (table[f"{name}_p"].to_numpy(dtype=float) <= LEVEL for name in ("naming", "valence"))
    return np.array(["neither", "names", "evokes", "names and evokes"], dtype=object)[names + 2 * evokes]


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
