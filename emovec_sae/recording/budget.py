"""How many padded tokens a batch should have on the device at hand: tried once, then kept in the manifest."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

import numpy as np

from emovec_sae.models.model import Model
from emovec_sae.recording.batches import Runner
from emovec_sae.recording.texts import Texts
from emovec_sae.sites import Site

log = logging.getLogger(__name__)

USUAL = {"cpu": 512}
"""Padded tokens that suit a device of this kind; any other is taken for a GPU."""
_USUAL_GPU = 16384
_WORTH = 200
"""A corpus of fewer than this many usual batches is recorded before a probe would have paid."""
_BETTER = 1.05
"""Another budget is taken only if it is this much faster: a probe is short, and clocks waver."""
_ROUNDS = 2


def find_budget(model: Model, texts: Texts, sites: Iterable[Site]) -> int:
    """Padded tokens of a batch at which the model reads fastest here, up to the deepest site.

    A short corpus takes what is usual for the device. Otherwise texts of about the median length are run in batches of
    a quarter to eight times that, until a larger batch is slower or does not fit.

    Parameters
    ----------
    model
        The model on its device.
    texts
        What will be recorded.
    sites
        Where.

    Returns
    -------
    int
    """
    usual = USUAL.get(model.device.type, _USUAL_GPU)
    if int(texts.lengths.sum()) < _WORTH * usual:
        return usual
    order = np.argsort(texts.lengths, kind="stable")
    runner = Runner(model, texts, sites)
    speed: dict[int, float] = {}
    for budget in [usual, usual // 2, usual // 4, *(usual * 2**power for power in range(1, 4))]:
        nearer = speed.get(budget * 2 if budget < usual else budget // 2, 0.0)
        if budget != usual and nearer < speed[usual]:  # the step on this side was already worse
            continue
        rate = _rate(runner, texts, order, budget)
        if rate is None:
            break
        speed[budget] = rate
    if not speed:
        return usual
    best = max(speed, key=lambda budget: speed[budget])
    chosen = best if speed[best] > _BETTER * speed.get(usual, 0.0) else usual
    told = ", ".join(f"{budget}: {rate:.0f}" for budget, rate in sorted(speed.items()))
    log.info("batches of %d padded tokens (tokens per second at each: %s)", chosen, told)
    return chosen


def _rate(runner: Runner, texts: Texts, order: np.ndarray, budget: int) -> float | None:
    """Tokens per second of batches of about `budget` tokens around the median length; None if one does not fit."""
    middle = len(order) // 2
    count = max(1, budget // int(texts.lengths[order[middle]]))
    rows = order[max(0, middle - count) :][:count].tolist()
    repeats = max(1, USUAL.get(runner.model.device.type, _USUAL_GPU) // budget)
    tokens = int(texts.lengths[rows].sum()) * repeats
    best = float("inf")
    for _ in range(_ROUNDS + 1):  # the first is for caches and kernels to be made
        began = time.perf_counter()
        for _ in range(repeats):
            for _, _, values in runner.run(rows):
                next(iter(values.values())).flatten()[:1].cpu()  # waits for the device
        best = min(best, time.perf_counter() - began)
        if runner.limit is not None:
            return None
    return tokens / best
