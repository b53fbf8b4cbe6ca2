"""EV008: whether groups keep training and test apart, and cross with emotions."""

from __future__ import annotations

import numpy as np
import pandas as pd

from emovec_sae.directions.diagnostics.case import Case
from emovec_sae.directions.diagnostics.finding import Aspect, grade, grade_below
from emovec_sae.directions.diagnostics.registry import diagnostic

LONE = (0.1, 0.5)
"""Shares of texts in groups of one emotion that warn and fail."""

GROUPS = (3, 2)
"""Numbers of groups below which it warns and fails."""


@diagnostic("EV008", "groups", asks="Do groups keep training and test apart, and cross with emotions?")
def groups(case: Case) -> list[Aspect]:
    """Look for texts and ids in two groups or splits, for groups of one emotion, and for too few groups."""
    return [_repeated(case), _lone(case), _few(case)]


def _repeated(case: Case) -> Aspect:
    """Texts whose wording (but for case and spaces) or id stands in several groups or splits."""
    frame = case.part.frame
    places = [column for column in ("group", "split") if column in frame.columns]
    keys = {
        "wording": pd.Series([" ".join(text.casefold().split()) for text in case.texts]),
        "id": frame["id"].astype(str),
    }
    twice = np.zeros(len(frame), dtype=bool)
    for key in keys.values():
        for place in places:
            twice |= frame[place].groupby(key).transform("nunique").to_numpy() > 1
    count = int(twice.sum())
    status, threshold = grade(count, warn=1, fail=1)
    message = f"{count} texts stand, by wording or id, in more than one group or split."
    if count:
        first = frame.loc[twice, "id"].iloc[0]
        message += f" The first is '{first}'. They are trained and tested on: keep one of each, or join their groups."
    return Aspect(
        status=status, measure="texts in several groups or splits", value=float(count), n=len(frame),
        threshold=threshold, message=message,
    )  # fmt: skip


def _lone(case: Case) -> Aspect:
    """Share of the texts that lie in groups of one emotion."""
    y, codes = case.part.y, case.part.groups
    kinds = pd.Series(y).groupby(codes).nunique().to_numpy()
    alone = int((kinds == 1).sum())
    share = float((kinds == 1)[codes].mean())
    status, threshold = grade(share, warn=LONE[0], fail=LONE[1])
    message = f"{alone} of {len(kinds)} groups hold one emotion only, with {share:.0%} of the texts."
    if status != "pass":
        message += (
            " What is particular to such a group goes into its emotion's vector: write texts of several emotions "
            "for each group (topic)."
        )
    return Aspect(
        status=status, measure="share of texts in groups of one emotion", value=share, n=len(y), threshold=threshold,
        message=message,
    )  # fmt: skip


def _few(case: Case) -> Aspect:
    count = len(case.part.group_names)
    status, threshold = grade_below(count, warn=GROUPS[0], fail=GROUPS[1])
    message = f"There are {count} groups."
    if status != "pass":
        message += " Intervals over so few say little, and nothing can be chosen inside a held-out fold: add groups."
    return Aspect(
        status=status, measure="groups", value=float(count), n=len(case.part), threshold=threshold, message=message
    )
