"""Intervals over groups, permutation tests, corrections for many tests: arrays in, small frozen results out."""

from __future__ import annotations

from emovec_sae.stats.auroc import auroc, rank_aurocs
from emovec_sae.stats.bootstrap import Interval, bootstrap_mean, bootstrap_ratio
from emovec_sae.stats.correlation import Correlation, correlation
from emovec_sae.stats.fdr import benjamini_hochberg, holm
from emovec_sae.stats.hierarchical import hierarchical_ratio, ratio_above_p
from emovec_sae.stats.permutation import (
    PermutationTest,
    label_permutation,
    max_t_p,
    permutation_p,
    permuted_labels,
    sign_flip,
)
from emovec_sae.stats.proportion import proportion

__all__ = [
    "Correlation",
    "Interval",
    "PermutationTest",
    "auroc",
    "benjamini_hochberg",
    "bootstrap_mean",
    "bootstrap_ratio",
    "correlation",
    "hierarchical_ratio",
    "holm",
    "label_permutation",
    "max_t_p",
    "permutation_p",
    "permuted_labels",
    "proportion",
    "rank_aurocs",
    "ratio_above_p",
    "sign_flip",
]
