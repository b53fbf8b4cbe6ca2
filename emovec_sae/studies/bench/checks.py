"""The checks of a score card, each a stage that leaves ``checks/NAME.json`` and a figure."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emovec_sae.provenance import read_json
from emovec_sae.studies.bench.recordings import Bench
from emovec_sae.studies.bench.settings import READOUTS
from emovec_sae.studies.stage import Progress

if TYPE_CHECKING:
    from emovec_sae.directions.direction_set import DirectionSet

READ, STEER = "directions.safetensors", "diff_mean.safetensors"
"""The set that reads best, and the plain differences of means at the same site, which are what one steers with."""


def choose(bench: Bench) -> None:
    """Cross-validate all candidates at all sites; write the evaluation and the two direction sets."""

    def work(progress: Progress) -> None:
        """Choose, then fit both sets at the chosen site."""
        from emovec_sae.directions.checks.topics import check_topics
        from emovec_sae.directions.encoder import encoder_folder
        from emovec_sae.directions.estimators import DiffMean
        from emovec_sae.directions.evaluate import cross_validate
        from emovec_sae.directions.fit import fit_directions
        from emovec_sae.directions.folds import short

        acts, settings = bench.acts("stories"), bench.settings
        candidates = settings.candidates()
        found = cross_validate(acts, readouts=READOUTS, readout="auto", estimator=candidates, seed=settings.seed)
        found.save(bench.path / "evaluation.json")
        _keep(bench, "topics", check_topics(found, acts, encoder=encoder_folder() is not None, seed=settings.seed))
        best = next(one for one in candidates if short(one) == found.way.estimator)
        for name, estimator in ((READ, best), (STEER, DiffMean())):
            made = fit_directions(acts, site=found.site, estimator=estimator, readout=found.readout, seed=settings.seed)
            made.save(bench.path / name, overwrite=True)

    outputs = ["evaluation.json", "checks/topics.json", READ, STEER]
    settings = {"shrinkages": bench.settings.shrinkages, "readouts": READOUTS, "seed": bench.settings.seed}
    bench.run.stage(
        "topics", "choose estimator, site and readout on held-out topics", settings=settings,
        after=["record stories"], outputs=outputs, work=work,
    )  # fmt: skip


def check_all(bench: Bench, wanted: Collection[str] | None = None) -> None:
    """Run every check that applies to the model, or those that are wanted."""
    for name, check in CHECKS.items():
        if (wanted is None or name in wanted) and all(bench.has(one) for one in check.recordings):
            _stage(bench, name, check)


SCENARIOS = {
    "scenarios": ("scenarios", "mean"),
    "scenarios_last": ("scenarios", "last"),
    "scenarios_chat": ("scenarios_chat", "mean"),
    "scenarios_reply": ("scenarios_reply", "last"),
}
"""Check -> recording and pool: from token 4 of plain text, its last token, the message in the chat template, and the
last token of the header after which the assistant would answer."""

POSITIONS = {
    "scenarios": "plain text, mean from token 4",
    "scenarios_last": "plain text, last token",
    "scenarios_chat": "chat template, mean from token 4 of the message",
    "scenarios_reply": "chat template, last token before the reply",
}


def _stage(bench: Bench, name: str, check: Made) -> None:
    settings: dict[str, Any] = {"seed": bench.settings.seed}
    if name == "preferences":
        settings["pairs"] = bench.settings.pairs
    bench.run.stage(
        name, check.about, settings=settings, after=["topics", *(f"record {one}" for one in check.recordings)],
        outputs=[f"checks/{name}.json"], work=lambda progress: _keep(bench, name, check.make(bench)),
    )  # fmt: skip


def _keep(bench: Bench, name: str, found: Any) -> None:
    """Draw a check and write it; the record comes last, so that it stands only beside its figure."""
    from emovec_sae.charts import save_chart

    if hasattr(found, "plot"):
        save_chart(
            found.plot(), bench.path / "figures", name, table=found.frame(), provenance=dict(found.provenance),
            caption=found.caption(),
        )  # fmt: skip
    found.save(bench.path / "checks" / f"{name}.json")


def _set(bench: Bench, name: str) -> DirectionSet:
    from emovec_sae.directions.files import load_directions

    return load_directions(bench.path / {"read": READ, "steer": STEER}[name])


def _estimator(bench: Bench, name: str) -> Any:
    """The estimator of a set, unfitted."""
    from emovec_sae.directions import estimators

    told = _set(bench, name).estimator
    return getattr(estimators, told["name"])(**told["params"])


def _scenarios(recording: str, pool: str, position: str) -> Callable[[Bench], Any]:
    def _make(bench: Bench) -> Any:
        from emovec_sae.directions.checks import check_scenarios

        acts, directions = bench.acts(recording), _set(bench, "read")
        acts = acts.where(acts.frame["emotion"].isin(directions.emotions))
        return check_scenarios(directions, acts, pool=pool, position=POSITIONS[position], seed=bench.settings.seed)

    return _make


def _intensity(bench: Bench) -> Any:
    from emovec_sae.directions.checks import check_intensity

    return check_intensity(_set(bench, "read"), bench.acts("intensity"), pool="mean", seed=bench.settings.seed)


def _lens(bench: Bench) -> Any:
    from emovec_sae.directions.checks import check_lens

    return check_lens(_set(bench, "steer"), bench.model, seed=bench.settings.seed)


def _shape(name: str) -> Callable[[Bench], Any]:
    def _make(bench: Bench) -> Any:
        from emovec_sae.directions.checks import check_shape

        return check_shape(_set(bench, name), seed=bench.settings.seed)

    return _make


def _learning(name: str) -> Callable[[Bench], Any]:
    def _make(bench: Bench) -> Any:
        from emovec_sae.directions.checks import learning_curve

        directions = _set(bench, name)
        return learning_curve(
            bench.acts("stories"), directions.site, estimator=_estimator(bench, name), readout=directions.readout,
            seed=bench.settings.seed,
        )  # fmt: skip

    return _make


def _similarity(bench: Bench) -> Any:
    from emovec_sae.directions.checks import compare_similarity
    from emovec_sae.directions.fit import fit_directions

    acts = bench.acts("stories")
    estimator = _estimator(bench, "read")
    sets = {str(site): fit_directions(acts, site=site, estimator=estimator) for site in sorted(acts.sites)}
    return compare_similarity(sets, seed=bench.settings.seed)


def _languages(bench: Bench) -> Any:
    from emovec_sae.directions.checks import check_languages

    directions = _set(bench, "read")
    return check_languages(
        [bench.acts("stories"), bench.acts("multilingual")], directions.site, estimator=_estimator(bench, "read"),
        readout=directions.readout, seed=bench.settings.seed,
    )  # fmt: skip


def _preferences(bench: Bench) -> Any:
    from emovec_sae.directions.checks.preferences import check_preferences

    return check_preferences(
        bench.model, _set(bench, "read"), bench.acts("activities"), pairs=bench.settings.pairs, seed=bench.settings.seed
    )


def _diagnostics(bench: Bench) -> Any:
    from emovec_sae.directions.diagnostics import diagnose

    directions = _set(bench, "steer")
    return diagnose(bench.acts("stories"), directions.site, readout=directions.readout, seed=bench.settings.seed)


@dataclass(frozen=True)
class Made:
    """How a check is made.

    Attributes
    ----------
    about
        For people.
    recordings
        What it reads besides the direction sets; the topics' own stories are listed where it reads them again.
    make
        Makes its result.
    """

    about: str
    recordings: tuple[str, ...]
    make: Callable[[Bench], Any]


CHECKS = {
    **{
        name: Made("implicit scenarios", (recording,), _scenarios(recording, pool, name))
        for name, (recording, pool) in SCENARIOS.items()
    },
    "intensity": Made("numeric intensity", ("intensity",), _intensity),
    "lens": Made("logit lens", (), _lens),
    "shape_read": Made("geometry", (), _shape("read")),
    "learning_read": Made("learning curve", ("stories",), _learning("read")),
    "shape_steer": Made("geometry", (), _shape("steer")),
    "learning_steer": Made("learning curve", ("stories",), _learning("steer")),
    "similarity": Made("similarity over sites", ("stories",), _similarity),
    "languages": Made("languages", ("stories", "multilingual"), _languages),
    "preferences": Made("preferences", ("activities",), _preferences),
    "diagnostics": Made("diagnostics", ("stories",), _diagnostics),
}
"""Checks in the order in which they are made, after `choose`; `read` are the best readers, `steer` the differences of
means."""


def saved(bench: Bench, name: str) -> dict[str, Any]:
    """What a check left behind."""
    return read_json(bench.path / "checks" / f"{name}.json")
