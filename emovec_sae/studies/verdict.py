"""The verdict of a run: sentences made from its numbers, the failures included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emovec_sae.config import Study

MATCHES = 0.9
"""An arm matches the raw vector when the lower bound of its ratio is at least this."""


def write_verdict(rows: list[dict[str, Any]], study: Study, *, site: str) -> list[str]:
    """Return one paragraph each on the directions, the decomposition, the steering and the latent arms."""
    scores = {f"{row['group']}/{row['name']}": row for row in rows}
    return [_directions(scores, site), _decomposition(scores, study), _steering(scores, study), _arms(scores, study)]


def _told(row: Mapping[str, Any]) -> str:
    """A number with its interval and n."""
    if row["value"] is None:
        return "not determined"
    if row["low"] is None:
        return f"{row['value']:.2f}"
    n = f", n = {row['n']}" if row["n"] else ""
    return f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}{n}]"


def _directions(scores: Mapping[str, Any], site: str) -> str:
    first, five = (_told(scores[f"directions/{name}"]) for name in ("top-1", "top-5"))
    found = f"On held-out topics the emotion vectors at {site} name the right emotion with top-1 {first}, top-5 {five}."
    words = scores.get("directions/TF-IDF top-1")
    return f"{found} A reader of words alone (TF-IDF) reaches top-1 {_told(words)}." if words else found


def _decomposition(scores: Mapping[str, Any], study: Study) -> str:
    k = study.decomposition.k
    cosine = scores[f"decomposition/contrast: cosine of the first {k} latents"]
    return (
        f"The local SAE explains {_told(scores['SAE/explained variance'])} of the variance on topics that it has not "
        f"seen; on average {_told(scores['decomposition/error share of |v|^2'])} of a vector's squared length lies in "
        f"its error, not in its latents. The first {k} latents by share reach cosine {_told(cosine)} with the vector "
        f"({cosine['note']})."
    )


def _steering(scores: Mapping[str, Any], study: Study) -> str:
    above = scores["steering/emotions raised more than by random directions"]
    return (
        f"At {study.interventions.level} nats of KL on neutral text the raw vectors raise their emotion's held-out "
        f"words more than random directions do for {above['value']:.0f} of {above['n']} emotions."
    )


def _arms(scores: Mapping[str, Any], study: Study) -> str:
    sizes = sorted(study.interventions.sizes)
    rows = {size: scores[f"steering/k={size}, effect relative to raw"] for size in sizes}
    known = [f"k = {size}: {_told(row)}" for size, row in rows.items() if row["value"] is not None]
    pooled = ", ".join(known) or "not determined, since the interval of the raw effect over so few emotions holds 0"
    name = f"k={sizes[-1]} relative to raw, "
    single = {key.split(name)[1]: row for key, row in scores.items() if name in key}
    told = [f"{emotion} {_told(row)}" for emotion, row in single.items() if row["value"] is not None]
    without = [emotion for emotion, row in single.items() if row["value"] is None]
    left = f" ({', '.join(without)}: no ratio, the raw vector has no clear effect)" if without else ""
    low = rows[sizes[-1]]["low"]
    matches = low is not None and low >= MATCHES
    claim = "match it" if matches else f"are not shown to match it (that takes a lower bound of {MATCHES})"
    return (
        f"At equal KL, the effect of k latents relative to the raw vector's, pooled over "
        f"{rows[sizes[-1]]['n']} emotions, is {pooled}. By emotion, k = {sizes[-1]}: "
        f"{', '.join(told) or 'none'}{left}. So the {sizes[-1]} latents {claim}."
    )
