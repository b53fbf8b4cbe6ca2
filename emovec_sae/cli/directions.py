"""emovec fit, evaluate: directions from activations, and their test on held-out texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from emovec_sae.cli.options import Json
from emovec_sae.cli.output import answer, say

Estimator = Literal["diff-mean", "whitened-diff-mean", "pca", "logistic", "lda"]
Readout = Literal["dot", "cosine", "centred_cosine", "zscore", "batch_centred"]


def fit(
    folder: Path,
    *,
    out: Path,
    estimator: Estimator = "diff-mean",
    shrinkage: str | None = None,
    against_neutral: Path | None = None,
    remove_neutral: Path | None = None,
    site: str = "auto",
    readout: Readout | Literal["auto"] = "zscore",
    seed: int = 0,
    json_: Json = False,
) -> None:
    """Fit a direction for each emotion of recorded activations.

    Parameters
    ----------
    folder
        What record wrote, with pool mean.
    out
        The .safetensors file to write, with a .json beside it.
    estimator
        diff-mean (to steer with, too); whitened-diff-mean and lda (to read with, best where a few dimensions are
        huge), pca (paired differences within groups), logistic.
    shrinkage
        Of the covariance of whitened-diff-mean and lda: oas, or a share from 0 to 1.
    against_neutral
        Activations of neutral texts whose mean is subtracted instead of the mean over emotions (diff-mean).
    remove_neutral
        Activations of neutral texts, whose leading components are projected out.
    site
        A recorded site; auto chooses by held-out groups.
    readout
        Readout by which a site is chosen, and which the set recommends; auto chooses it, too.
    """
    from emovec_sae.directions.denoise import NeutralComponents
    from emovec_sae.directions.estimators.choose import make_estimator
    from emovec_sae.directions.fit import fit_directions
    from emovec_sae.store.reader import open_activations

    remove = NeutralComponents(open_activations(remove_neutral)) if remove_neutral else None
    against = open_activations(against_neutral) if against_neutral else None
    chosen = make_estimator(estimator, shrinkage=shrinkage, against=against)
    acts = open_activations(folder)
    found = fit_directions(acts, site=site, estimator=chosen, remove=remove, readout=readout, seed=seed)
    found.save(out)
    facts = {"out": str(out), "site": str(found.site), "emotions": len(found), "removed": len(found.removed)}
    answer({**facts, "residual_norm": found.residual_norm}, json_=json_, text=repr(found))


def evaluate(
    directions: Path,
    folder: Path,
    *,
    readout: Readout | None = None,
    map_: Annotated[list[str] | None, Parameter(name="--map", negative="")] = None,
    out: Path | None = None,
    json_: Json = False,
) -> None:
    """Read the emotion of recorded texts by fitted directions: top-1, top-5, AUROC, with a lexical baseline.

    Parameters
    ----------
    directions
        What fit wrote.
    folder
        Activations of other texts than those that were fitted on (texts seen in fitting are counted and said).
    readout
        dot, cosine, centred_cosine, zscore, or batch_centred (transductive).
    map_
        LABEL=EMOTION, for texts labelled in other words; repeatable. auto takes the suggested emotion of every other
        label, says it, and leaves out the texts of labels that have none.
    out
        Write everything as JSON.
    """
    from emovec_sae.directions.files import load_directions
    from emovec_sae.directions.labels import label_map, rename_emotions, told_map
    from emovec_sae.store.reader import open_activations

    fitted = load_directions(directions)
    acts = open_activations(folder)
    if map_:
        given = acts.frame[["emotion"]]
        acts = rename_emotions(acts, map_, known=fitted.emotions)
        say(told_map(given, label_map(given, map_, known=fitted.emotions)))
    found = fitted.evaluate(acts, **({"readout": readout} if readout else {}))
    if out is not None:
        found.save(out)
    answer(found.summary(), json_=json_)
