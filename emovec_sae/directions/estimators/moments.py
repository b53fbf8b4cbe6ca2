"""What the linear estimators need of activations: counts, sums and second moments, which add up over chunks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emovec_sae.directions.readouts import ReadoutStats, unit_rows


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over rows by class, all relative to a fixed shift; they add over chunks and subtract over folds.

    Attributes
    ----------
    shift
        What was subtracted from every row, shape (d,): near the mean, so that squares keep their digits.
    counts
        Rows of each class, shape (n_classes,).
    sums
        Sum of the shifted rows of each class, shape (n_classes, d), float64.
    second
        Sum of outer products of the shifted rows, shape (d, d), float64; None where only means are wanted.
    """

    shift: np.ndarray
    counts: np.ndarray
    sums: np.ndarray
    second: np.ndarray | None

    @classmethod
    def of(
        cls, values: np.ndarray, codes: np.ndarray, n_classes: int, *, shift: np.ndarray | None = None, second: bool
    ) -> Moments:
        """Moments of a chunk.

        Parameters
        ----------
        values
            Activations, shape (n, d).
        codes
            Class of each row, from 0, shape (n,).
        n_classes
            Number of classes, seen in this chunk or not.
        shift
            What is subtracted; None takes the mean of this chunk.
        second
            Whether outer products are summed.
        """
        exact = np.asarray(values, dtype=np.float64)
        start = exact.mean(axis=0) if shift is None else shift
        rows = exact - start
        sums = np.zeros((n_classes, rows.shape[1]))
        order = np.argsort(codes, kind="stable")
        present, first = np.unique(codes[order], return_index=True)
        if len(present):
            sums[present] = np.add.reduceat(rows[order], first, axis=0)
        return cls(start, np.bincount(codes, minlength=n_classes), sums, rows.T @ rows if second else None)

    def __add__(self, other: Moments) -> Moments:
        second = None if self.second is None or other.second is None else self.second + other.second
        return Moments(self.shift, self.counts + other.counts, self.sums + other.sums, second)

    def __sub__(self, other: Moments) -> Moments:
        second = None if self.second is None or other.second is None else self.second - other.second
        return Moments(self.shift, self.counts - other.counts, self.sums - other.sums, second)

    @property
    def centred(self) -> np.ndarray:
        """Class means less their mean, shape (n_classes, d): every class weighs the same."""
        means = self.sums / self.counts[:, None]
        return means - means.mean(axis=0)

    @property
    def grand_mean(self) -> np.ndarray:
        """Mean over classes of the class means, shape (d,)."""
        return self.shift + (self.sums / self.counts[:, None]).mean(axis=0)

    def total(self) -> np.ndarray:
        """Covariance of the rows about their common mean, shape (d, d)."""
        return self._covariance(self.sums.sum(axis=0)[None], np.array([self.counts.sum()]))

    def within(self) -> np.ndarray:
        """Covariance of the rows about the means of their classes, shape (d, d)."""
        return self._covariance(self.sums, self.counts)

    def _covariance(self, sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
        if self.second is None:
            raise ValueError("these moments were taken without second moments")
        known = counts > 0
        roots = sums[known] / np.sqrt(counts[known])[:, None]
        return (self.second - roots.T @ roots) / self.counts.sum()

    def stats(self, vectors: np.ndarray) -> ReadoutStats:
        """Statistics of the readouts for vectors, shape (n, d), without a second look at the rows.

        The spread within classes is pooled over the rows; where all classes have as many rows, these are the very
        numbers of `ReadoutStats.fit` with balanced weights.
        """
        units = unit_rows(vectors)
        inside = np.einsum("nd,nd->n", units @ self.within(), units)
        between = np.square(units @ self.centred.T).mean(axis=1)
        mean = self.grand_mean
        return ReadoutStats(mean, units @ mean, np.sqrt(np.clip(inside, 0, None) + between))
