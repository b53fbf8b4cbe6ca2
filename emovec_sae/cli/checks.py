"""emovec check NAME: one check of directions at a time, as a result file and a figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from emovec_sae.cli.directions import Estimator, Readout
from emovec_sae.cli.options import Json
from emovec_sae.cli.output import answer, say

if TYPE_CHECKING:
    from emovec_sae.directions.checks import Check

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
    _give("scenarios", found, out, json_=json_)


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
    _give("intensity", found, out, json_=json_)


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
    _give("labels", found, out, json_=json_)


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
    _give("speaker", found, out, json_=json_)


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
    _give("languages", found, out, json_=json_)


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
    _give("learning", found, out, json_=json_)


def shape(
    directions: Path, *, norms: Path | None = None, seed: int = 0, out: Path | None = None, json_: Json = False
) -> None:
    """Spectrum, families, valence and arousal of a direction set.

    Parameters
    ----------
    directions
        What fit wrote.
    norms
        CSV file with the columns emotion, valence, arousal (1 to 9); the packaged ratings otherwise.
    out
        Folder for shape.json and the figure.
    """
    from emovec_sae.corpora.norms import load_norms
    from emovec_sae.directions.checks import check_shape
    from emovec_sae.directions.files import load_directions

    found = check_shape(load_directions(directions), load_norms(norms) if norms else None, seed=seed)
    _give("shape", found, out, json_=json_)


def similarity(*directions: Path, seed: int = 0, out: Path | None = None, json_: Json = False) -> None:
    """Compare the similarity of emotions across sites and models (RSA).

    Parameters
    ----------
    directions
        Two or more files that fit wrote.
    out
        Folder for similarity.json and the figure.
    """
    from emovec_sae.directions.checks import compare_similarity
    from emovec_sae.directions.files import load_directions

    found = compare_similarity({path.stem: load_directions(path) for path in directions}, seed=seed)
    _give("similarity", found, out, json_=json_)


def lens(
    directions: Path,
    *,
    model: str = "smollm2-135m-instruct",
    top: int = 20,
    seed: int = 0,
    out: Path | None = None,
    json_: Json = False,
) -> None:
    """Logit lens: test whether the directions write their own words.

    Parameters
    ----------
    directions
        What fit wrote.
    model
        The model that they come from.
    top
        What counts as among the top tokens.
    out
        Folder for lens.json and the figure.
    """
    from emovec_sae.directions.checks import check_lens
    from emovec_sae.directions.files import load_directions
    from emovec_sae.models.load import load_model

    _give("lens", check_lens(load_directions(directions), load_model(model), top=top, seed=seed), out, json_=json_)


def preferences(
    directions: Path,
    folder: Path,
    *,
    model: str = "smollm2-135m-instruct",
    pairs: int = 640,
    seed: int = 0,
    out: Path | None = None,
    json_: Json = False,
) -> None:
    """Test whether the directions read what the model would rather do.

    Parameters
    ----------
    directions
        What fit wrote.
    folder
        Recorded activities (emovec record activities --offset 1 ...).
    model
        The model, which is asked.
    pairs
        Pairs of activities that it chooses between, each in both orders.
    out
        Folder for preferences.json and the figure.
    """
    from emovec_sae.directions.checks.preferences import check_preferences
    from emovec_sae.directions.files import load_directions
    from emovec_sae.models.load import load_model
    from emovec_sae.store.reader import open_activations

    found = check_preferences(
        load_model(model), load_directions(directions), open_activations(folder), pairs=pairs, seed=seed
    )
    _give("preferences", found, out, json_=json_)


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


def _give(name: str, found: Check, out: Path | None, *, json_: bool) -> None:
    """Write a check and its figure if a folder is given, and say its numbers."""
    if out is not None:
        from emovec_sae.charts import save_chart

        caption = found.caption()
        save_chart(found.plot(), out, name, table=found.frame(), provenance=dict(found.provenance), caption=caption)
        found.save(out / f"{name}.json")
    shown = found.numbers[["number", "value", "low", "high", "n", "null", "p"]]
    answer(found.summary(), json_=json_, text=f"{found.title}\n{shown.to_string(index=False, float_format='%.3g')}")
