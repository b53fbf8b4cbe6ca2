"""Sparse pursuits on decoder rows: one file each, one line each here."""

from __future__ import annotations

# Importing a pursuit registers it; the same name twice says that this is all the import is for.
from emovec_sae.decomposition.pursuits import cosine as cosine
from emovec_sae.decomposition.pursuits import gradient as gradient
from emovec_sae.decomposition.pursuits import lasso as lasso
from emovec_sae.decomposition.pursuits import nnls as nnls
from emovec_sae.decomposition.pursuits import omp as omp
from emovec_sae.decomposition.pursuits.dictionary import Dictionary
from emovec_sae.decomposition.pursuits.pursuit import PURSUITS, Method, Pursuit

__all__ = ["PURSUITS", "Dictionary", "Method", "Pursuit"]
