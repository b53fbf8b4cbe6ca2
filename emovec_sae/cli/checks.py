"""emovec check NAME, for what is read in recorded texts: a result file and a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from emovec_sae.cli.check_result import give
from emovec_sae.cli.directions import Estimator, Readout
from emovec_sae.cli.options import Json
from emovec_sae.cli.output import answer, say

Pool = Literal["mean", "last", "max", "span"]


def scenarios(
    directions: Path,
    folder: Path,
    *,
    pool: Pool = "mean",
    readout: Readout = "zscore",
    reference: Literal["training", "other"] = "other",
    top: int = 3,
    seed: int = 0,
    out: Path | None = None,
    json_: Json = False,
) -> None:
    """Rank the emotion that a text implies.

    Parameters
    ----------
    directions
        What fit wrote.
    folder
        Recorded scenarios (emovec record scenarios --offset 4 ...).
    pool
        How they are pooled.
    readout, reference
        How they are read; other takes mean and deviation of the other battery's texts.
    top
        A text counts if its emotion is among so many.
    out
        Folder for scenarios.json and the figure.
    """
    from emovec_sae.directions.checks import check_scenarios
    from emovec_sae.directions.files import load_directions
    from emovec_sae.store.reader import open_activations

    found = check_scenarios(
        load_directions(directions), open_activations(folder), top=top, pool=pool, readout=readout, reference=reference,
        seed=seed,
    )  # fmt: skip
    give("scenarios", found, out, json_=json_)


def intensity(
    directions: Path, folder: Path, *, pool: Pool = "mean", seed: int = 0, out: Path | None = None, json_: Json = False
) -> None:
    """Test whether larger numbers move the emotions the way that they should.

    Parameters
    ----------
    directions
        What fit wrote.
    folder
        Recorded templates (emovec record intensity --offset 4 ...).
    pool
        How they are pooled.
    out
        Folder for intensity.json and the figure.
    """
    from emovec_sae.directions.checks import check_intensity
    from emovec_sae.directions.files import load_directions
    from emovec_sae.store.reader import open_activations

    found = check_intensity(load_directions(directions), open_activations(folder), pool=pool, seed=seed)
    give("intensity", found, out, json_=json_)


def labels(
    directions: Path,
    folder: Path,
    *,
    map_: Annotated[list[str] | None, Parameter(name="--map", negative="")] = None,
    pool: Pool = "mean",
    readout: Readout = "zscore",
    reference: Literal["training", "texts"] = "training",
    seed: int = 0,
    out: Path | None = None,
    json_: Json = False,
) -> None:
    """Hold readings against labels, intensities and ratings that texts came with.

    Parameters
    ----------
    directions
        What fit wrote.
    folder
        Recorded texts (emovec record FILE --layout ... ).
    map_
        LABEL=EMOTION, repeatable; auto takes the suggested emotion of every other label. What was taken is said.
    pool
        How they are pooled.
    readout, reference
        How they are read; texts takes mean and deviation of these very texts (transductive).
    out
        Folder for labels.json and the figure.
    """
    from emovec_sae.directions.checks import check_labelled
    from emovec_sae.directions.files import load_directions
    from emovec_sae.directions.labels import label_map, told_map
    from emovec_sae.store.reader import open_activations

    fitted, acts = load_directions(directions), open_activations(folder)
    chosen = label_map(acts.frame, map_ or [], known=fitted.emotions)
    if map_:
        say(told_map(acts.frame, chosen))
    found = check_labelled(fitted, acts, labels=chosen, pool=pool, readout=readout, reference=reference, seed=seed)
    give("labels", found, out, json_=json_)


def speaker(
    folder: Path,
    *,
    site: str,
    estimator: Estimator = "diff-mean",
    pool: Pool = "span",
    readout: Readout = "zscore",
    seed: int = 0,
    out: Path | None = None,
    json_: Json = False,
) -> None:
    """Tell the present from the other speaker's emotions.

    Parameters
    ----------
    folder
        Recorded dialogues with the columns emotion, other_emotion, group and a span (emovec record FILE --pool span).
    site
        A recorded site.
    estimator
        How vectors are fitted.
    pool
        How turns are pooled.
    readout
        How they are read.
    out
        Folder for speaker.json and the figure.
    """
    from emovec_sae.directions.checks import check_speaker
    from emovec_sae.directions.estimators import make_estimator
    from emovec_sae.store.reader import open_activations

    found = check_speaker(
        open_activations(folder), site, estimator=make_estimator(estimator), pool=pool, readout=readout, seed=seed
    )
    give("speaker", found, out, json_=json_)


def languages(
    *folders: Path,
    site: str,
    estimator: Estimator = "lda",
    shrinkage: str | None = None,
    readout: Readout = "zscore",
    reference: Literal["target", "training"] = "target",
    seed: int = 0,
    out: Path | None = None,
    json_: Json = False,
) -> None:
    """Fit in each language, read in each.

    Parameters
    ----------
    folders
        Recorded texts of one model with a column lang (emovec record multilingual, stories).
    site
        A recorded site.
    estimator, shrinkage
        How vectors are fitted.
    readout, reference
        How texts are read; target takes mean and deviation of the other topics in the language that is read.
    out
        Folder for languages.json and the figure.
    """
    from emovec_sae.directions.checks import check_languages
    from emovec_sae.directions.estimators import make_estimator
    from emovec_sae.store.reader import open_activations

    stores = [open_activations(folder) for folder in folders]
    chosen = make_estimator(estimator, shrinkage=shrinkage)
    found = check_languages(stores, site, estimator=chosen, readout=readout, reference=reference, seed=seed)
    give("languages", found, out, json_=json_)


def learning(
    folder: Path,
    *,
    site: str,
    estimator: Estimator = "diff-mean",
    shrinkage: str | None = None,
    readout: Readout = "zscore",
    draws: int = 4,
    seed: int = 0,
    out: Path | None = None,
    json_: Json = False,
) -> None:
    """Learning curve over topics: accuracy and split-half stability.

    Parameters
    ----------
    folder
        Recorded texts with emotions and groups.
    site
        A recorded site.
    estimator, shrinkage
        How vectors are fitted.
    readout
        How texts are read.
    draws
        Random sets of topics of each size.
    out
        Folder for learning.json and the figure.
    """
    from emovec_sae.directions.checks import learning_curve
    from emovec_sae.directions.estimators import make_estimator
    from emovec_sae.store.reader import open_activations

    chosen = make_estimator(estimator, shrinkage=shrinkage)
    found = learning_curve(open_activations(folder), site, estimator=chosen, draws=draws, readout=readout, seed=seed)
    give("learning", found, out, json_=json_)


def diagnose(
    folder: Path,
    *,
    site: str,
    estimator: Estimator = "diff-mean",
    readout: Readout = "zscore",
    seed: int = 0,
    out: Path | None = None,
    json_: Json = False,
) -> None:
    """Numbered diagnostics of recorded texts: confounds, leakage, duplicates, stability.

    Parameters
    ----------
    folder
        Recorded texts with emotions and groups.
    site
        A recorded site.
    estimator
        How vectors are fitted.
    readout
        How texts are read.
    out
        Folder for diagnose.json.
    """
    from emovec_sae.directions.diagnostics import diagnose as run_diagnostics
    from emovec_sae.directions.estimators import make_estimator
    from emovec_sae.store.reader import open_activations

    chosen = make_estimator(estimator)
    found = run_diagnostics(open_activations(folder), site, estimator=chosen, readout=readout, seed=seed)
    if out is not None:
        found.save(out / "diagnose.json")
    answer(found.summary(), json_=json_, text=str(found))
