"""Decomposition: emotion vectors written as SAE latents plus an error term."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.errors import ConfigError, suggest
from emovec_sae.sites import Site

if TYPE_CHECKING:
    import altair as alt

METHODS = ("contrast", "omp")
"""Methods by which a direction can be decomposed."""


@dataclass(frozen=True, eq=False, repr=False)
class Decomposition:
    """What `decompose` found.

    Attributes
    ----------
    method, k
        How, and how many latents an emotion.
    emotions
        Names, n of them.
    site, model
        Where the vectors live.
    sae, sae_fingerprint
        The SAE that they were decomposed with.
    ranks
        One row a latent of an emotion; see `frame`.
    summary
        One row an emotion: error_share with error_low and error_high, other_share (of the latents that are not in
        `ranks`) with its interval, identity_error, r2_k, cosine_k, null_mean, null_low, null_high (cosine of random
        targets of the same norm at k), permuted_mean, permuted_low, permuted_high (cosine of pseudo-emotions from
        permuted labels), n_texts.
    curves
        One row an emotion, k and quantity (cosine, r2, share): value, and mean and band of both nulls.
    index
        Latents that occur in `ranks`, ascending, shape (m,).
    rows
        Their unit decoder rows, shape (m, d).
    coefficients
        Coefficient of each emotion on each of them, shape (n, m); with `contrast` all of Delta there, with `omp`
        zero outside the support.
    vectors
        What was decomposed: the denoised vectors, shape (n, d).
    removed
        Orthonormal rows that were projected out of them, shape (q, d).
    interval
        What low and high are, for captions.
    provenance
        Who made it, from what.
    """

    method: str
    k: int
    emotions: tuple[str, ...]
    site: Site
    model: Mapping[str, Any]
    sae: str
    sae_fingerprint: str
    ranks: pd.DataFrame
    summary: pd.DataFrame
    curves: pd.DataFrame
    index: np.ndarray
    rows: np.ndarray
    coefficients: np.ndarray
    vectors: np.ndarray
    removed: np.ndarray
    interval: str
    provenance: Mapping[str, Any]

    def __repr__(self) -> str:
        share = self.summary["error_share"].mean()
        unfit = "UNFIT SAE, " if self.unfit else ""
        return (
            f"Decomposition({unfit}{self.method}, k = {self.k}, {len(self)} emotions at {self.site} "
            f"with SAE '{self.sae}', "
            f"error share {share:.2f}, cosine {self.summary['cosine_k'].mean():.2f})"
        )

    def __len__(self) -> int:
        return len(self.emotions)

    def __iter__(self) -> Iterator[str]:
        return iter(self.emotions)

    @property
    def unfit(self) -> bool | None:
        """Whether the SAE explains too little of the activations (overridden); None if nobody measured it."""
        return self.provenance.get("fitness", {}).get("unfit")

    def row(self, emotion: str) -> int:
        """Number of an emotion; `ConfigError` names the nearest if there is none such."""
        if emotion not in self.emotions:
            raise ConfigError(f"'{emotion}' was not decomposed{suggest(emotion, self.emotions)}")
        return self.emotions.index(emotion)

    def frame(self) -> pd.DataFrame:
        """One row a latent of an emotion, by rank.

        Returns
        -------
        pd.DataFrame
            emotion, rank, latent, coefficient (on the unit decoder row), share (of |v|^2, signed), low, high (its
            interval), null_low, null_high (what random targets reach at this rank), decoder_cosine (of the row with
            the vector), firing_rate (share of the pooled tokens), dense (fires on more than a tenth), cohens_d.
        """
        return self.ranks.copy()

    @property
    def curve(self) -> pd.DataFrame:
        """One row an emotion and k: cosine, r2, share of the partial sum; null_* and permuted_* of the cosine."""
        keys = ["emotion", "k"]
        values = self.curves.pivot(index=keys, columns="quantity", values="value").reset_index()
        bands = self.curves[self.curves["quantity"] == "cosine"].drop(columns=["quantity", "value"])
        wide = values[[*keys, "cosine", "r2", "share"]].merge(bands, on=keys)
        wide.columns.name = None
        order = {name: place for place, name in enumerate(self.emotions)}
        return wide.sort_values(
            keys, key=lambda column: column.map(order) if column.name == "emotion" else column
        ).reset_index(drop=True)

    def nulls(self) -> pd.DataFrame:
        """One row an emotion, k, quantity and null ("random target", "permuted labels"): value, mean, low, high."""
        keys = ["emotion", "k", "quantity", "value"]
        parts: list[pd.DataFrame] = []
        for name, prefix in (("random target", "null"), ("permuted labels", "permuted")):
            bands = {f"{prefix}_{end}": end for end in ("mean", "low", "high")}
            part = self.curves[[*keys, *bands]].rename(columns=bands).assign(null=name)
            parts.append(part[part["mean"].notna()])
        return pd.concat(parts, ignore_index=True)[["emotion", "k", "quantity", "null", "value", "mean", "low", "high"]]

    def latents(self, emotion: str, k: int | None = None, *, dense: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """The first k latents of an emotion with their coefficients on unit decoder rows.

        Parameters
        ----------
        emotion
            Which.
        k
            How many, at most the k of the decomposition (the default). For `omp` coefficients are refitted to the
            first k choices; for `contrast` a coefficient does not depend on k.
        dense
            Whether latents that fire on more than a tenth of the tokens may be among them.

        Returns
        -------
        indices, coefficients
            Shape (k,) each, by rank; fewer where dense ones are left out.

        Raises
        ------
        ConfigError
            If the emotion was not decomposed or k is out of reach.
        """
        k = self.k if k is None else k
        if not 1 <= k <= self.k:
            raise ConfigError(f"this decomposition holds 1 to {self.k} latents an emotion, got k = {k}")
        own = self.ranks[self.ranks["emotion"] == self.emotions[self.row(emotion)]].sort_values("rank")
        if not dense:
            own = own[~own["dense"].fillna(value=False).astype(bool)]
        own = own.head(k)
        found = own["latent"].to_numpy()
        if self.method == "contrast" or len(found) == self.k:
            return found, own["coefficient"].to_numpy()
        solved = np.linalg.lstsq(self._projected(found).T, self.vectors[self.row(emotion)], rcond=None)[0]
        return found, solved.astype(float)

    def vector(self, emotion: str, k: int | None = None, *, dense: bool = True) -> np.ndarray:
        """Sum of the first k latents in the space of the vectors (removed rows out), shape (d,), float32."""
        found, coefficients = self.latents(emotion, k, dense=dense)
        return (coefficients @ self._projected(found)).astype(np.float32)

    def decoder_rows(self, latents: Sequence[int] | np.ndarray) -> np.ndarray:
        """Unit decoder rows of latents that occur in the decomposition, shape (len(latents), d)."""
        places = np.searchsorted(self.index, latents).clip(max=len(self.index) - 1)
        if not np.array_equal(self.index[places], latents):
            raise ConfigError("only the latents of this decomposition have their decoder rows in it")
        return self.rows[places]

    def composition(
        self, emotions: str | Sequence[str], *, k: int | None = None, labels: Mapping[int, str] | None = None
    ) -> pd.DataFrame:
        """Rows for `emovec_sae.charts.composition`: the first k latents, all others, the error."""
        from emovec_sae.decomposition.tables import composition_frame

        return composition_frame(self, [emotions] if isinstance(emotions, str) else list(emotions), k=k, labels=labels)

    def by_latent(self, *, n: int = 24, labels: Mapping[int, str] | None = None) -> pd.DataFrame:
        """Rows for `emovec_sae.charts.latents_by_emotion`: the n latents that hold most of any emotion."""
        from emovec_sae.decomposition.tables import latents_frame

        return latents_frame(self, n=n, labels=labels)

    def plot(
        self,
        emotion: str | Sequence[str] | None = None,
        *,
        k: int | None = None,
        labels: Mapping[int, str] | None = None,
    ) -> alt.VConcatChart:
        """Draw the composition of an emotion (by default of the first)."""
        from emovec_sae.charts.composition import composition

        return composition(self.composition(emotion or self.emotions[0], k=k, labels=labels), interval=self.interval)

    def facts(self) -> dict[str, Any]:
        """The summary in numbers over emotions: method, k, error_share, identity_error, r2, cosine, null."""
        means = self.summary[["error_share", "r2_k", "cosine_k", "null_mean", "permuted_mean"]].mean()
        worst = self.summary["identity_error"].max()
        return {
            "method": self.method,
            "k": self.k,
            "unfit": self.unfit,
            "fitness": self.provenance.get("fitness"),
            "emotions": len(self),
            "error_share": float(means["error_share"]),
            "identity_error": None if np.isnan(worst) else float(worst),
            "r2": float(means["r2_k"]),
            "cosine": float(means["cosine_k"]),
            "null": None if np.isnan(means["null_mean"]) else float(means["null_mean"]),
            "permuted": None if np.isnan(means["permuted_mean"]) else float(means["permuted_mean"]),
        }

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write ``NAME.parquet`` with ``NAME.safetensors`` and ``NAME.json`` beside it; see `load_decomposition`."""
        from emovec_sae.decomposition.files import save_decomposition

        return save_decomposition(self, path, overwrite=overwrite)

    def _projected(self, latents: np.ndarray) -> np.ndarray:
        rows = self.decoder_rows(latents)
        return rows - (rows @ self.removed.T) @ self.removed
