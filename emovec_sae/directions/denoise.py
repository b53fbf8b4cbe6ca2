"""Denoising: what varies in neutral text is projected out of the vectors."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_is_fitted, validate_data

from emovec_sae.directions.source import PooledActivations, neutral_values
from emovec_sae.directions.threads import one_thread
from emovec_sae.sites import Site


class NeutralComponents(TransformerMixin, BaseEstimator):
    """The top principal components of neutral texts, to be projected out of emotion vectors.

    Sofroniew et al. 2026 (arXiv 2604.07729): PCA on activations of neutral texts, as many leading components as
    reach 50 % of the variance, projected out of every vector.

    Parameters
    ----------
    neutral
        A store of activations of neutral texts (then `at` fits at a site), an array (n_texts, d) of such activations,
        or None where `fit` is given them.
    share
        Share of the variance that the removed components reach, in (0, 1].

    Attributes
    ----------
    components_
        Orthonormal rows, shape (m, d).
    explained_
        Share of the variance that each explains, shape (m,).

    Examples
    --------
    >>> import numpy as np
    >>> found = NeutralComponents(share=0.5).fit(np.array([[4.0, 0.0], [-4.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
    >>> np.abs(found.transform(np.array([[2.0, 3.0]]))).tolist()
    [[0.0, 3.0]]
    """

    def __init__(self, neutral: PooledActivations | np.ndarray | None = None, share: float = 0.5) -> None:
        self.neutral = neutral
        self.share = share

    def fit(self, X: Any, y: Any = None) -> NeutralComponents:
        """Find the components of neutral activations X, shape (n_texts, d); y is not looked at.

        Raises
        ------
        ValueError
            If the share is outside (0, 1] or there are fewer than two texts.
        """
        if not isinstance(self.share, Real) or not 0 < float(self.share) <= 1:
            raise ValueError(f"share is {self.share!r}; a share of the variance in (0, 1] is wanted, such as 0.5")
        checked = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        values = np.asarray(checked, dtype=np.float64)
        if not bool((values.std(axis=0) > 0).any()):
            self.components_ = np.zeros((0, values.shape[1]))
            self.explained_ = np.zeros(0)
            return self
        with one_thread():
            found = PCA(svd_solver="full")
            found.fit(values)
        # The margin keeps a share that is met but for rounding from costing one component more.
        shares = np.asarray(found.explained_variance_ratio_)
        reached = np.cumsum(shares) >= float(self.share) - 1e-9
        count = int(np.argmax(reached)) + 1
        self.components_ = np.asarray(found.components_)[:count]
        self.explained_ = shares[:count]
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Project the components out of vectors X, shape (n, d); nothing is centred."""
        check_is_fitted(self)
        vectors = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return project_out(np.asarray(vectors), self.components_)

    def at(self, site: Site, *, pool: str = "mean", model: Any = None) -> NeutralComponents:
        """Fit on the neutral texts at a site; this object stays as it is (one that was fitted by hand is returned).

        Parameters
        ----------
        site
            Where the vectors live.
        pool
            How the neutral texts are pooled.
        model
            The vectors' model record; the neutral store must come from the same one.

        Raises
        ------
        MismatchError
            If the neutral texts were recorded from another model.
        StoreError
            If the site or pool was not recorded for them.
        """
        if self.neutral is None:
            check_is_fitted(self, msg="%(name)s was given no neutral texts: pass it a store or an array, or fit it")
            return self
        fresh = NeutralComponents(share=self.share)
        if isinstance(self.neutral, np.ndarray):
            return fresh.fit(self.neutral)
        return fresh.fit(neutral_values(self.neutral, site, pool=pool, model=model))

    def provenance(self) -> dict[str, Any]:
        """What a direction set records about its denoising."""
        if self.neutral is None or isinstance(self.neutral, np.ndarray):
            return {"name": "NeutralComponents", "share": float(self.share), "texts": None}
        return {
            "name": "NeutralComponents",
            "share": float(self.share),
            "texts": len(self.neutral.frame),
            "corpus_hash": self.neutral.corpus_hash,
            "activations": self.neutral.fingerprint,
        }


def project_out(vectors: np.ndarray, components: np.ndarray) -> np.ndarray:
    """Vectors, shape (n, d), less their part in the span of orthonormal `components`, shape (m, d)."""
    return vectors - (vectors @ components.T) @ components
