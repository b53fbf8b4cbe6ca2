"""Decomposition: emotion vectors written as SAE latents plus an error term."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.decomposition.methods import FIXED, coefficients_of
from emovec_sae.errors import ConfigError, suggest
from emovec_sae.sites import Site

if TYPE_CHECKING:
    import altair as alt


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
        `ranks`) with its interval, identity_error, r2_k, cosine_k, count_k, n_texts; and of the cosine at k the nulls
        and the excess, as in `curves`.
    curves
        One row an emotion, k and quantity (cosine, r2, share, count: see `emovec_sae.decomposition.targets.Curve`):
        value, for each null mean, band and p, and the excess over the hardest null; see
        `emovec_sae.decomposition.nulls.against_nulls`.
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
        Who made it, from what; under `settings` the choices that the method was run with.
    firing_rate
        Share of the tokens on which each latent of the SAE fires, shape (d_sae,), or None where no tokens were seen.
    tests
        Latents that passed their test, whether they are among the ranks or not; see `significant`. None where none was
        tested.
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
    firing_rate: np.ndarray | None = None
    tests: pd.DataFrame | None = None

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
        """One row an emotion and k: cosine, r2, share, count of the partial sum; nulls and excess of the cosine."""
        keys = ["emotion", "k"]
        values = self.curves.pivot(index=keys, columns="quantity", values="value").reset_index()
        bands = self.curves[self.curves["quantity"] == "cosine"].drop(columns=["quantity", "value"])
        wide = values[[*keys, "cosine", "r2", "share", "count"]].merge(bands, on=keys)
        wide.columns.name = None
        order = {name: place for place, name in enumerate(self.emotions)}
        return wide.sort_values(
            keys, key=lambda column: column.map(order) if column.name == "emotion" else column
        ).reset_index(drop=True)

    def nulls(self) -> pd.DataFrame:
        """One row an emotion, k, quantity and null.

        Returns
        -------
        pd.DataFrame
            emotion, k, quantity, value, null, null_mean, null_low, null_high (95 % of its draws), excess with
            excess_low and excess_high (over those draws), p (one-sided; at least 1 / (draws + 1)).
        """
        from emovec_sae.decomposition.null_tables import null_frame

        return null_frame(self.curves)

    def excess(self) -> pd.DataFrame:
        """One row a k, quantity and null, over emotions; see `emovec_sae.decomposition.null_tables.excess_frame`."""
        from emovec_sae.decomposition.null_tables import excess_frame

        return excess_frame(self.curves)

    def significant(self, emotion: str | None = None, *, level: float = 0.05, by: str = "max_t") -> pd.DataFrame:
        """Latents that tell an emotion from the others, by permutation of emotions within groups.

        Parameters
        ----------
        emotion
            Which; None means all.
        level
            Largest corrected p, at most 0.1.
        by
            ``max_t`` (the chance of any false claim in an emotion) or ``q`` (the share of false claims).

        Returns
        -------
        pandas.DataFrame
            emotion, latent, coefficient, share, z, p, p_max_t, q, by falling share. How many permuted labels give, and
            the smallest values that the design allows, are in `summary`.
        """
        from emovec_sae.decomposition.passed import chosen

        if emotion is not None:
            self.row(emotion)
        return chosen(self.tests, emotion=emotion, level=level, by=by)

    def latents(self, emotion: str, k: int | None = None, *, dense: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """The first k latents of an emotion with their coefficients on unit decoder rows.

        Parameters
        ----------
        emotion
            Which.
        k
            How many, at most the k of the decomposition (the default). Pursuits solve for the coefficients of the first
            k choices anew; for `contrast` a coefficient does not depend on k.
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
        if self.method in FIXED or len(found) == self.k:
            return found, own["coefficient"].to_numpy()
        return found, coefficients_of(self.method, self._projected(found), self.vectors[self.row(emotion)])

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
        from emovec_sae.charts import draw

        rows = self.composition(emotion or self.emotions[0], k=k, labels=labels)
        return draw("composition", rows, interval=self.interval)

    def plot_curves(self, quantity: str = "cosine", *, emotion: str | None = None) -> alt.LayerChart:
        """Draw a quantity against the number of latents beside its nulls, for one emotion or the mean of all.

        The band of a null is the 95 % of its draws (their mean over emotions); that of the method is over emotions.
        """
        from emovec_sae.charts import draw
        from emovec_sae.decomposition.null_tables import curve_rows

        if emotion is not None:
            self.row(emotion)
        frame = curve_rows(self.curves, method=self.method, quantity=quantity, emotion=emotion, seed=0)
        about = emotion or f"mean of {len(self)} emotions"
        return draw(
            "curves",
            frame,
            x_title="latents",
            y_title=quantity,
            title=f"{self.method}: {quantity} of the first k latents with the vector",
            subtitle=f"{about}, {self.site}, SAE {self.sae}; nulls with 95 % of their draws",
            log_x=True,
        )

    def facts(self) -> dict[str, Any]:
        """The summary in numbers over emotions: method, k, error_share, identity_error, r2, cosine, null."""
        from emovec_sae.decomposition.null_tables import facts_of

        return {**facts_of(self), "unfit": self.unfit, "fitness": self.provenance.get("fitness")}

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write ``NAME.parquet`` with ``NAME.safetensors`` and ``NAME.json`` beside it; see `load_decomposition`."""
        from emovec_sae.decomposition.files import save_decomposition

        return save_decomposition(self, path, overwrite=overwrite)

    def _projected(self, latents: np.ndarray) -> np.ndarray:
        rows = self.decoder_rows(latents)
        return rows - (rows @ self.removed.T) @ self.removed
