"""References: what a method is called, and where it comes from."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

METHODS: dict[str, tuple[str, ...]] = {
    "emovec-sae": ("emovec_sae",),
    "protocol": ("sofroniew2026emotion",),
    "nnsight": ("fiottokaufman2025nnsight",),
    "sae-lens": ("bloom2024saelens",),
    "scikit-learn": ("pedregosa2011scikit",),
    # estimators
    "diff-mean": ("sofroniew2026emotion",),
    "neutral-components": ("sofroniew2026emotion",),
    "whitened-diff-mean": ("marks2024geometry",),
    "pca-direction": ("zou2023representation",),
    "ridge-axis": ("hoerl1970ridge",),
    "logistic-probe": ("pedregosa2011scikit",),
    "shrinkage-lda": ("pedregosa2011scikit",),
    "oas": ("chen2010shrinkage",),
    # decomposition
    "contrast": ("emovec_sae",),
    "omp": ("pati1993orthogonal",),
    "gradient-pursuit": ("blumensath2008gradient",),
    "nnls": ("lawson1974solving",),
    "lasso": ("tibshirani1996regression", "efron2004least"),
    "attribution": ("marks2025sparse",),
    "encode": ("mayne2024can",),
    "naming": ("presa2026compositional",),
    # saes
    "standard": ("bricken2023monosemanticity", "huben2024sparse"),
    "topk": ("gao2024scaling",),
    "batchtopk": ("bussmann2024batchtopk",),
    "matryoshka-batchtopk": ("bussmann2025matryoshka",),
    "abstopk": ("zhu2026abstopk",),
    "jumprelu": ("rajamanoharan2024jumping",),
    "gated": ("rajamanoharan2024improving",),
    "matching-pursuit": ("costa2025flat",),
    "gemma-scope": ("lieberum2024gemma",),
    "gemma-scope-2": ("mcdougall2025gemma",),
    "llama-scope": ("he2024llama",),
    "sparse-probing": ("gurnee2023finding", "karvonen2025saebench"),
    "hungarian": ("kuhn1955hungarian",),
    # interventions
    "steering": ("turner2023steering", "rimsky2024steering"),
    "output-score": ("arad2025saes",),
    "confidence": ("wang2025does",),
    "activation-patching": ("vig2020investigating", "zhang2024towards"),
    "attribution-patching": ("nanda2023attribution", "syed2024attribution"),
    "vader": ("hutto2014vader",),
    # checks, maps and statistics
    "logit-lens": ("nostalgebraist2020interpreting",),
    "rsa": ("kriegeskorte2008representational",),
    "bradley-terry": ("bradley1952rank",),
    "holm": ("holm1979simple",),
    "benjamini-hochberg": ("benjamini1995controlling",),
    "max-t": ("westfall1993resampling",),
    "sam": ("tusher2001significance",),
    "umap": ("mcinnes2018umap",),
    "pacmap": ("wang2021understanding",),
    "sentence-embeddings": ("reimers2019sentence",),
}
"""Method -> keys of its entries in ``references.bib``."""

ALIASES = {
    "gp": "gradient-pursuit", "westfall-young": "max-t", "caa": "steering", "activation-addition": "steering",
    "orthogonal-matching-pursuit": "omp", "fdr": "benjamini-hochberg", "saelens": "sae-lens", "sofroniew": "protocol",
    "batch-topk": "batchtopk", "sbert": "sentence-embeddings", "mean-difference": "diff-mean",
}  # fmt: skip
"""Other names that are understood."""


@cache
def entries() -> dict[str, str]:
    """Every BibTeX entry by its key, as it stands in ``references.bib``."""
    text = files("emovec_sae.exports").joinpath("references.bib").read_text(encoding="utf-8")
    return {found[1]: found[0] for found in re.finditer(r"@\w+\{([^,\s]+),.*?\n\}", text, re.DOTALL)}


def method_name(text: str) -> str:
    """A name in one spelling: small letters, hyphens, aliases resolved."""
    plain = re.sub(r"[\s_]+", "-", text.strip().lower())
    return ALIASES.get(plain, plain)
