"""The verdict of a run: sentences made from its numbers, the failures included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emovec_sae.config import Study


def write_verdict(rows: list[dict[str, Any]], study: Study, *, site: str, compared: Sequence[str]) -> list[str]:
    """Return one paragraph each on the directions, the decomposition, the steering and the arms.

    Parameters
    ----------
    rows
        The score table.
    study
        The settings.
    site
        Site of the directions.
    compared
        Sentences of `emovec_sae.interventions.comparison.result.Comparison.verdict`, which judge the arms.
    """
    scores = {f"{row['group']}/{row['name']}": row for row in rows}
    arms = f"At equal KL: {' '.join(compared)}"
    return [_directions(scores, site), _decomposition(scores, study), _steering(scores, study), arms]


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
    own = study.sae.source is None  # what another SAE was trained on is not known here
    where = "on topics that it has not seen" if own else "on the study's texts"
    return (
        f"The SAE explains {_told(scores['SAE/explained variance'])} of the variance {where}; "
        f"on average {_told(scores['decomposition/error share of |v|^2'])} of a vector's squared length lies in "
        f"its error, not in its latents. The first {k} latents by share reach cosine {_told(cosine)} with the vector "
        f"({cosine['note']})."
    )


def _steering(scores: Mapping[str, Any], study: Study) -> str:
    above = scores["steering/emotions raised more than by random directions"]
    return (
        f"At {study.interventions.level} nats of KL on neutral text the raw vectors raise their emotion's held-out "
        f"words more than random directions do for {above['value']:.0f} of {above['n']} emotions."
    )
