"""The fitness passport: what an SAE explains of the activations at hand, measured before any claim is made with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.errors import MismatchError, UnfitError
from emovec_sae.provenance import collect, digest, plain, write_json
from emovec_sae.saes.coder import SparseCoder
from emovec_sae.saes.neighbours import Neighbour, compare_sites, site_note
from emovec_sae.saes.sample import at_site, some_texts
from emovec_sae.saes.sums import TokenSums, token_sums
from emovec_sae.sites import Site
from emovec_sae.stats import Interval, bootstrap_ratio

if TYPE_CHECKING:
    import altair as alt

    from emovec_sae.models.model import Model
    from emovec_sae.saes.splice import Splice
    from emovec_sae.store.reader import Activations
    from emovec_sae.store.site_view import SiteActivations

DENSE = 0.1
"""A latent is dense when it fires on more than this share of the tokens."""

FIT = 0.5
"""Explained variance below which an SAE is refused."""

NORMS = {"min": 0.0, "q05": 0.05, "median": 0.5, "q95": 0.95, "max": 1.0}
"""Quantiles of the decoder norms that a passport tells."""


@dataclass(frozen=True, repr=False)
class Passport:
    """What an SAE does on given activations.

    Attributes
    ----------
    sae, fingerprint
        Name and fingerprint of the SAE.
    site, model
        Where the activations come from.
    explained_variance
        1 - fvu against the mean over the measured tokens, position 0 and sinks left out; interval over texts.
    l0
        Mean number of active latents of a token; interval over texts.
    dead_share, dense_share
        Shares of the latents that fire on none, or on more than a tenth, of the measured tokens.
    decoder_norms
        Quantiles (`NORMS`) of the norms of the decoder rows as they are stored.
    n_tokens, n_texts
        What was measured.
    n_sinks
        Sink tokens left out (`emovec_sae.saes.sinks`).
    texts_trained_on
        How many of the measured texts the SAE was trained on, by its own list; None if it keeps no list. Anything
        but 0 means that the numbers flatter.
    mean_norm
        Mean L2 norm of the measured tokens.
    neighbours
        Explained variance of the other recorded sites, the site check.
    splice
        Splice loss, and explained variance with position 0 among the tokens; None without a model.
    notes
        What was not measured and why, and what looks wrong.
    provenance
        Who measured it.
    """

    sae: str
    fingerprint: str
    site: Site
    model: Mapping[str, Any]
    explained_variance: Interval
    l0: Interval
    dead_share: float
    dense_share: float
    decoder_norms: Mapping[str, float]
    n_tokens: int
    n_texts: int
    n_sinks: int
    texts_trained_on: int | None
    mean_norm: float
    neighbours: tuple[Neighbour, ...]
    splice: Splice | None
    notes: tuple[str, ...]
    provenance: Mapping[str, Any]

    def __repr__(self) -> str:
        spliced = "" if self.splice is None else f", KL recovered {self.splice.kl_recovered.value:.2f}"
        return (
            f"Passport('{self.sae}' at {self.site}: explained variance {self.explained_variance.value:.2f}, "
            f"l0 {self.l0.value:.1f}, dead {self.dead_share:.0%}, dense {self.dense_share:.1%}{spliced}, "
            f"{self.n_tokens} tokens)"
        )

    def frame(self) -> pd.DataFrame:
        """One row a metric: metric, value, low, high, n (tokens; latents for the quantiles of their norms)."""
        rows: list[tuple[str, float, float, float, int]] = [
            (name, found.value, found.low, found.high, self.n_tokens)
            for name, found in (("explained_variance", self.explained_variance), ("l0", self.l0))
        ]
        rows += [
            ("dead_share", self.dead_share, np.nan, np.nan, self.n_tokens),
            ("dense_share", self.dense_share, np.nan, np.nan, self.n_tokens),
        ]
        norms = self.decoder_norms.items()
        rows += [(f"decoder_norm {name}", norm, np.nan, np.nan, self.n_tokens) for name, norm in norms]
        for one in self.neighbours:
            found = one.explained
            rows.append((f"explained_variance {one.site}", found.value, found.low, found.high, found.n))
        table = pd.DataFrame(rows, columns=["metric", "value", "low", "high", "n"])
        return table if self.splice is None else pd.concat([table, self.splice.frame()], ignore_index=True)

    def plot(self) -> alt.VConcatChart:
        """Draw the numbers that lie between 0 and 1 with their intervals."""
        from emovec_sae.charts import draw

        table = self.frame().rename(columns={"metric": "number"}).assign(check="fitness", null=np.nan)
        shares = table["number"].str.startswith(("explained_variance", "dead", "dense", "ce recovered", "kl recovered"))
        return draw("score_dots", table[shares], title=f"Fitness of {self.sae} at {self.site}")

    def passes(self, threshold: float = FIT) -> bool:
        """Whether the explained variance reaches `threshold`."""
        return self.explained_variance.value >= threshold

    def require(self, threshold: float = FIT) -> None:
        """Raise `UnfitError` unless the explained variance reaches `threshold`."""
        if not self.passes(threshold):
            raise UnfitError(
                f"SAE '{self.sae}' explains {self.explained_variance.value:.2f} of the variance at {self.site}, "
                f"{threshold:.2f} is wanted; train one on these activations, or lower the threshold and say so"
            )

    def facts(self) -> dict[str, Any]:
        """The passport as JSON-serialisable facts."""
        return {
            "sae": self.sae,
            "fingerprint": self.fingerprint,
            "site": str(self.site),
            "model": dict(self.model),
            "explained_variance": self.explained_variance.as_dict(),
            "l0": self.l0.as_dict(),
            "dead_share": self.dead_share,
            "dense_share": self.dense_share,
            "decoder_norms": dict(self.decoder_norms),
            "n_tokens": self.n_tokens,
            "n_texts": self.n_texts,
            "n_sinks": self.n_sinks,
            "texts_trained_on": self.texts_trained_on,
            "mean_norm": self.mean_norm,
            "neighbours": {str(one.site): one.explained.as_dict() for one in self.neighbours},
            "splice": None if self.splice is None else self.splice.facts(),
            "notes": list(self.notes),
            "provenance": dict(self.provenance),
        }

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of what was measured, without who measured it and when."""
        return digest(plain({key: value for key, value in self.facts().items() if key != "provenance"}))

    def save(self, path: str | Path) -> Path:
        """Write the facts as JSON, atomically."""
        return write_json(path, self.facts())


def passport(
    coder: SparseCoder,
    acts: Activations | SiteActivations,
    *,
    model: Model | None = None,
    tokens: int = 100_000,
    texts: int = 32,
    neighbours: int = 4,
    seed: int = 0,
) -> Passport:
    """Measure an SAE on recorded tokens; give texts that it was not trained on.

    Parameters
    ----------
    coder
        The SAE.
    acts
        Activations with tokens; of a whole store, the SAE's own site is taken.
    model
        The model that was recorded: the splice loss and the explained variance with position 0 need it (that position
        is never recorded).
    tokens
        About how many tokens to measure; whole texts are drawn at random until they are reached.
    texts
        Texts for what the model is run on, drawn among those measured.
    neighbours
        Other recorded sites on which the SAE is tried: the site check; the nearest first, 0 for none.
    seed
        Of the draws and of the bootstrap.

    Returns
    -------
    Passport

    Raises
    ------
    MismatchError
        If site, width or model are not the SAE's, or the model given is not the one recorded.
    StoreError
        If the tokens of the site were not recorded.
    """
    source = some_texts(_checked(coder, acts, model), tokens, seed)
    facts = source.activations.model
    sums = token_sums(coder, source)
    compared = compare_sites(coder, source, most=neighbours, seed=seed)
    splice, notes = _spliced(coder, source, model, sums, texts=texts, seed=seed)
    trained = coder.facts.get("texts", {}).get("ids")
    ids = source.activations.frame["id"].astype(str)
    return Passport(
        sae=coder.name,
        fingerprint=coder.fingerprint,
        site=source.site,
        model=dict(facts),
        explained_variance=sums.explained(seed=seed),
        l0=bootstrap_ratio(sums.active, sums.count, seed=seed),
        dead_share=float((sums.fired == 0).mean()),
        dense_share=float((sums.fired > DENSE * sums.n_tokens).mean()),
        decoder_norms=_quantiles(coder),
        n_tokens=sums.n_tokens,
        n_texts=len(sums.sse),
        n_sinks=sums.n_sinks,
        texts_trained_on=None if trained is None else int(ids.isin(set(trained)).sum()),
        mean_norm=sums.norm / sums.n_tokens,
        neighbours=compared[1:],
        splice=splice,
        notes=(*site_note(compared), *notes),
        provenance=collect(seed=seed, activations=source.activations.fingerprint, sae=coder.fingerprint),
    )


def _checked(coder: SparseCoder, acts: Activations | SiteActivations, model: Model | None) -> SiteActivations:
    """The SAE's site of the activations, after all three were held against each other."""
    source = at_site(coder, acts)
    facts = source.activations.model
    coder.require(site=source.site, d_model=int(facts["d_model"]), model=facts)
    if model is not None and model.fingerprint != facts.get("fingerprint"):
        raise MismatchError(f"these activations were recorded on '{facts['name']}', the model given is '{model.name}'")
    return source


def _quantiles(coder: SparseCoder) -> dict[str, float]:
    norms = coder.decoder_norms.cpu().numpy().astype(float)
    return {name: float(np.quantile(norms, share)) for name, share in NORMS.items()}


def _spliced(
    coder: SparseCoder, source: SiteActivations, model: Model | None, sums: TokenSums, *, texts: int, seed: int
) -> tuple[Splice | None, Sequence[str]]:
    """What needs the model, and notes about it."""
    if model is None:
        return None, ["no model was given: splice loss, and explained variance with position 0, are not measured"]
    from emovec_sae.saes.splice import splice_loss

    frame = source.activations.frame
    rows = np.sort(np.random.default_rng(seed).permutation(len(frame))[:texts])
    notes: list[str] = []
    if source.activations.settings.get("format", "plain") != "plain":
        notes.append("the splice loss was measured on plain texts, the activations were recorded in chat format")
    tokenizer = model.tokens.tokenizer
    adds = tokenizer.bos_token_id is not None and model.tokens.encode(["a"])[0][0] == tokenizer.bos_token_id
    notes.append(f"position 0 is {'the beginning-of-text token' if adds else 'a text token: this tokenizer adds none'}")
    if coder.metadata.get("prepend_bos") and not adds:
        notes.append("the SAE's metadata wants a beginning-of-text token, which this tokenizer does not add")
    found = splice_loss(
        coder, model, frame["text"].iloc[rows].astype(str).tolist(), mean=sums.mean, limit=sums.limit, seed=seed
    )
    return found, notes
