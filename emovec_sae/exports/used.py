"""Which methods a result was made with, told from the result itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from emovec_sae.errors import ConfigError
from emovec_sae.interventions.comparison.names import read_name

OURS = ["emovec-sae"]
WITH_MODEL = [*OURS, "nnsight", "protocol"]

RELEASES = {"gemma-scope-2-": "gemma-scope-2", "gemma-scope-": "gemma-scope", "llama_scope": "llama-scope"}
"""First letters of a release of sae-lens's catalogue -> name of its reference; the first that fits."""

CHECKS: dict[str, list[str]] = {
    "Scenarios": [], "Intensity": [], "Speaker": [], "Shape": [], "Topics": [], "LearningCurve": [], "Languages": [],
    "LabelledTexts": [],
    "Lens": ["logit-lens"],
    "Similarity": ["rsa"],
    "Preferences": ["bradley-terry", "benjamini-hochberg", "max-t"],
    "SteeredPreferences": ["bradley-terry", "steering", "max-t"],
}  # fmt: skip
"""Check -> what it uses beyond the protocol."""

PLAIN: dict[str, list[str]] = {
    "Passport": [*OURS, "nnsight", "sae-lens"],
    "Matching": [*OURS, "sae-lens", "hungarian"],
    "SelectedMatches": [*OURS, "sae-lens", "hungarian"],
    "Probing": [*OURS, "sae-lens", "sparse-probing", "scikit-learn"],
    "Naming": [*OURS, "nnsight", "sae-lens", "naming"],
    "Stability": [*OURS, "sae-lens"],
    "Agreement": [*OURS, "sae-lens"],
    "Sharing": [*OURS, "sae-lens"],
    "Sweep": [*WITH_MODEL, "steering"],
    "Breakdown": [*WITH_MODEL, "steering"],
    "Behaviour": [*WITH_MODEL, "steering", "holm"],
    "Geometry": WITH_MODEL,
    "Diagnosis": OURS,
    "ScoreCard": [*WITH_MODEL, "logit-lens", "rsa", "bradley-terry", "benjamini-hochberg", "max-t"],
    "Activations": [*OURS, "nnsight"],
    "Corpus": OURS,
}
"""Results whose methods do not depend on how they were made."""


def used_by(value: Any) -> list[str]:
    """The methods that an object was made with, by name.

    Raises
    ------
    ConfigError
        If nothing is known of objects of its kind.
    """
    for kind in type(value).__mro__:
        if kind.__name__ in READERS:
            return list(dict.fromkeys(READERS[kind.__name__](value)))
        if kind.__name__ in CHECKS:
            return [*WITH_MODEL, *CHECKS[kind.__name__]]
        if kind.__name__ in PLAIN:
            return PLAIN[kind.__name__]
    raise ConfigError(
        f"nobody knows which methods a {type(value).__name__} was made with; give a result of this package, such as a "
        "DirectionSet, Decomposition, SparseCoder, Comparison or Patching, or the name of a method"
    )


def of_directions(directions: Any) -> list[str]:
    """Estimator, its shrinkage, and the removal of neutral components."""
    found = [*WITH_MODEL, *of_estimator(directions.estimator)]
    return [*found, "neutral-components"] if len(directions.removed) else found


def of_estimator(told: Mapping[str, Any]) -> list[str]:
    """An estimator by its class, ``WhitenedDiffMean`` as ``whitened-diff-mean``, and its shrinkage."""
    words: list[str] = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]*", str(told.get("name")))
    shrunk = ["oas"] if (told.get("params") or {}).get("shrinkage") == "oas" else []
    return ["-".join(words).lower(), *shrunk]


def of_decomposition(parts: Any) -> list[str]:
    """Method, the SAE's release, and the tests of single latents where they were made."""
    method = "gradient-pursuit" if parts.method == "gp" else str(parts.method)
    found = [*WITH_MODEL, "sae-lens", method, *of_release(parts.sae)]
    tested = "p_max_t" in parts.ranks and bool(parts.ranks["p_max_t"].notna().any())
    return [*found, "max-t", "benjamini-hochberg", "sam"] if tested else found


def of_release(name: str) -> list[str]:
    """The reference of a pretrained SAE by the name of its release; none of one that was trained by the user."""
    return next(([method] for start, method in RELEASES.items() if name.startswith(start)), [])


def of_sae(coder: Any) -> list[str]:
    """Architecture (as trained, too: batchtopk is saved as jumprelu) and release."""
    return of_sae_facts(coder.architecture, coder.facts, coder.name)


def of_sae_facts(architecture: str, facts: Mapping[str, Any], name: str) -> list[str]:
    """The same from what an SAE's files say."""
    trained = (facts.get("training") or {}).get("architecture", architecture)
    return [*OURS, "sae-lens", str(trained), *of_release(str(facts.get("release") or name))]


def of_comparison(found: Any) -> list[str]:
    """Steering, the correction of the secondary tests, and who selected latents."""
    return of_arms(list(found.provenance.get("arms") or found.effects["arm"].unique()))


def of_arms(arms: list[str]) -> list[str]:
    """The same from the names of arms."""
    selectors = {found.selector for found in map(read_name, arms) if found is not None}
    known = [one.replace(" ", "-") for one in ("output score", "confidence") if one in selectors]
    return [*WITH_MODEL, "steering", "holm", *known]


def of_patching(found: Any) -> list[str]:
    """Exact patching, its gradient, or both."""
    return of_patching_method(str(found.provenance.get("method", "exact")))


def of_patching_method(method: str) -> list[str]:
    """The same from the name of the method."""
    ways = {"exact": ["activation-patching"], "attribution": ["attribution-patching"]}
    return [*WITH_MODEL, *ways.get(method, ["activation-patching", "attribution-patching"])]


def of_evaluation(found: Any) -> list[str]:
    """The estimator and the baselines."""
    return of_evaluation_facts(str(found.way.estimator), str(found.baseline or ""))


def of_evaluation_facts(estimator: str, baseline: str) -> list[str]:
    """The same from names."""
    embedded = ["sentence-embeddings"] if baseline and "TF-IDF" not in baseline else []
    learnt = ["scikit-learn"] if "TF-IDF" in baseline else []
    return [*WITH_MODEL, *of_estimator({"name": estimator}), *learnt, *embedded]


READERS: dict[str, Callable[[Any], list[str]]] = {
    "DirectionSet": of_directions,
    "Direction": lambda one: of_directions(one.set),
    "Decomposition": of_decomposition,
    "SparseCoder": of_sae,
    "Comparison": of_comparison,
    "Patching": of_patching,
    "Evaluation": of_evaluation,
}
"""Results -> how their methods are told."""
