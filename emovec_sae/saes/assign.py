"""One-to-one matching of rows and columns by a similarity."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

EXACT = 2**22
"""Cells up to which the best assignment of all is found (Hungarian); beyond, the largest free pair is taken in turn."""
_ROWS = 1024


def assign(similarity: np.ndarray, columns: np.ndarray | None = None, n_columns: int | None = None) -> np.ndarray:
    """Give each row a column of its own.

    Parameters
    ----------
    similarity
        Shape (n, m); with `columns`, (n, c) similarities of candidates.
    columns
        The candidates, shape (n, c): which columns a row may get.
    n_columns
        How many columns there are in all, with `columns`.

    Returns
    -------
    numpy.ndarray
        Column of each row, shape (n,), -1 where none is left (or none of its candidates is).
    """
    found = np.full(len(similarity), -1, dtype=np.int64)
    if columns is None and similarity.size <= EXACT:
        rows, picked = linear_sum_assignment(similarity, maximize=True)
        found[rows] = picked
        return found
    if columns is None:
        columns = best_columns(similarity, 16)
        similarity = np.take_along_axis(similarity, columns, axis=1)
        n_columns = int(columns.max(initial=-1)) + 1
    free = np.ones(n_columns or 0, dtype=bool)
    width = columns.shape[1]
    for cell in np.argsort(-similarity, axis=None, kind="stable"):
        row, column = int(cell) // width, columns.flat[cell]
        if found[row] < 0 and free[column]:
            found[row] = column
            free[column] = False
    return found


def best_columns(similarity: np.ndarray, count: int) -> np.ndarray:
    """The most similar columns of each row, in no order, shape (n, min(count, m))."""
    count = min(count, similarity.shape[1])
    found = np.empty((len(similarity), count), dtype=np.int64)
    for start in range(0, len(similarity), _ROWS):  # a block at a time: the indices of all cells would fill memory
        part = similarity[start : start + _ROWS]
        found[start : start + _ROWS] = np.argpartition(-part, count - 1, axis=1)[:, :count]
    return found
