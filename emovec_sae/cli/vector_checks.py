"""emovec check NAME, for what is asked of the directions themselves or of the model: a result file and a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from emovec_sae.cli.check_result import give
from emovec_sae.cli.options import Json


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
    give("shape", found, out, json_=json_)


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
    give("similarity", found, out, json_=json_)


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

    give("lens", check_lens(load_directions(directions), load_model(model), top=top, seed=seed), out, json_=json_)


def preferences(
    directions: Path,
    folder: Path,
    *,
    model: str = "smollm2-135m-instruct",
    pairs: int = 640,
    steer: Annotated[tuple[float, ...], Parameter(negative="")] = (),
    emotions: Annotated[tuple[str, ...], Parameter(negative="")] = ("core",),
    random: int = 8,
    seed: int = 0,
    out: Path | None = None,
    json_: Json = False,
) -> None:
    """Test whether the directions read what the model would rather do, or move it.

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
    steer
        Steer with the emotions at this KL on neutral text, in nats, and tell how preferences change; repeatable.
    emotions
        With --steer: core, all, or names with commas between.
    random
        With --steer: random directions beside them.
    out
        Folder for preferences.json and the figure.
    """
    from emovec_sae.directions.checks.preferences import check_preferences
    from emovec_sae.directions.files import load_directions
    from emovec_sae.models.load import load_model
    from emovec_sae.store.reader import open_activations

    fitted, acts = load_directions(directions), open_activations(folder)
    if not steer:
        found = check_preferences(load_model(model), fitted, acts, pairs=pairs, seed=seed)
        give("preferences", found, out, json_=json_)
        return
    from emovec_sae.cli.behaviour import check_levels, emotion_names, matched
    from emovec_sae.cli.output import bar
    from emovec_sae.interventions.behaviour.preferences import steered_preferences

    check_levels(steer)
    names, loaded = emotion_names(emotions, fitted), load_model(model)
    conditions = matched(loaded, fitted, names, steer, flip=False, random=random, seed=seed)
    with bar("conditions") as progress:
        steered = steered_preferences(loaded, fitted, acts, conditions, pairs=pairs, seed=seed, progress=progress)
    give("steered_preferences", steered, out, json_=json_)
