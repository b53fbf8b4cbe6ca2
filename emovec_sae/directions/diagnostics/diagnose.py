"""Run the diagnostics on a store."""

from __future__ import annotations

from collections.abc import Sequence

from emovec_sae.directions.diagnostics.case import Case
from emovec_sae.directions.diagnostics.diagnosis import Diagnosis
from emovec_sae.directions.diagnostics.registry import DIAGNOSTICS
from emovec_sae.directions.estimators import DiffMean
from emovec_sae.directions.folds import DirectionEstimator, described
from emovec_sae.directions.source import PooledActivations
from emovec_sae.directions.threads import one_thread
from emovec_sae.errors import ConfigError, suggest
from emovec_sae.provenance import collect
from emovec_sae.sites import Site


def diagnose(
    acts: PooledActivations,
    site: str | Site,
    *,
    estimator: DirectionEstimator | None = None,
    pool: str = "mean",
    readout: str = "zscore",
    codes: Sequence[str] | None = None,
    seed: int = 0,
) -> Diagnosis:
    """Ask of a store what commonly goes wrong with emotion directions.

    Parameters
    ----------
    acts
        A store whose texts have emotions and groups; texts without an emotion are left out.
    site
        A recorded site.
    estimator
        How vectors are fitted; None means `DiffMean`.
    pool
        How texts are pooled.
    readout
        How texts are read with held-out vectors.
    codes
        Diagnostics to run, ``["EV001", "EV004"]``; None means all.
    seed
        Of everything drawn at random. The same seed gives the same findings, whatever the order of the texts.

    Raises
    ------
    ConfigError
        If no text carries an emotion, there is one emotion only, or a code is unknown.
    StoreError
        If the site or pool was not recorded.
    """
    wanted = _codes(codes)
    case = Case.of(acts, site, estimator=estimator, pool=pool, readout=readout, seed=seed)
    with one_thread():
        findings = tuple(DIAGNOSTICS[code].check(case) for code in wanted)
    settings = {
        "site": str(case.site),
        "pool": pool,
        "offset": case.offset,
        "estimator": described(DiffMean() if estimator is None else estimator),
        "readout": readout,
        "seed": seed,
        "texts": len(case.part),
        "emotions": len(case.part.emotions),
        "groups": len(case.part.group_names),
    }
    provenance = collect(
        activations=acts.fingerprint,
        corpus_hash=acts.corpus_hash,
        model=dict(acts.model),
        diagnostics=wanted,
        seed=seed,
    )
    return Diagnosis(findings, settings, provenance)


def _codes(codes: Sequence[str] | None) -> list[str]:
    if codes is None:
        return sorted(DIAGNOSTICS)
    for code in codes:
        if code not in DIAGNOSTICS:
            known = ", ".join(sorted(DIAGNOSTICS))
            raise ConfigError(f"unknown diagnostic '{code}'{suggest(code, DIAGNOSTICS)}; there are {known}")
    return sorted(set(codes))
