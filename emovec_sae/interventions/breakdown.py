"""Where a model breaks down: the doses at which its texts are clean, repetitive or collapsed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.errors import ConfigError
from emovec_sae.interventions.edits import ByRow, Dosed
from emovec_sae.models.generate import generate_ids
from emovec_sae.models.model import Model
from emovec_sae.models.positions import locate
from emovec_sae.provenance import atomic, collect, write_json
from emovec_sae.scoring.regimes import REGIMES, REPEATED, SURPRISE, repeated, tell_regimes
from emovec_sae.scoring.surprise import surprise
from emovec_sae.sites import Site
from emovec_sae.stats.proportion import proportion

if TYPE_CHECKING:
    import altair as alt

_RESAMPLES = 2000


@dataclass(frozen=True)
class Breakdown:
    """Texts under an edit at growing doses, and what became of them.

    Attributes
    ----------
    cells
        One row a (edit, dose, prompt): edit, dose, prompt, text, tokens, repeated, surprise, regime.
    provenance
        Model, site, doses, prompts, the limits of the regimes.
    """

    cells: pd.DataFrame
    provenance: dict[str, Any]

    def frame(self) -> pd.DataFrame:
        """Share of each regime at each dose: dose, regime, share, low, high (95 % Wilson, prompts as clusters), n."""
        rows: list[dict[str, Any]] = []
        for dose, some in self.cells.groupby("dose"):
            for regime in REGIMES:
                share = proportion((some["regime"] == regime).to_numpy(), some["prompt"].to_numpy())
                ends = {"share": share.value, "low": share.low, "high": share.high, "n": share.n}
                rows.append({"dose": dose, "regime": regime, **ends})
        return pd.DataFrame(rows)

    def points(self, *, seed: int = 0) -> pd.DataFrame:
        """Doses at which half of the texts are no longer clean, and at which half have collapsed.

        Returns
        -------
        pandas.DataFrame
            point (``not clean``, ``collapsed``), dose (on the line between the doses tried; NaN where half is never
            reached), low, high (95 % over resampled prompts; NaN for an end beyond the largest dose), n (prompts).
        """
        random = np.random.default_rng(seed)
        doses = np.sort(self.cells["dose"].unique())
        rows: list[dict[str, Any]] = []
        for name, lost in (("not clean", self.cells["regime"] != "clean"), ("collapsed", self._is("collapsed"))):
            table = self.cells.assign(lost=lost).pivot_table(index="prompt", columns="dose", values="lost").to_numpy()
            count = len(table)
            times = random.multinomial(count, np.full(count, 1 / count), size=_RESAMPLES)
            draws = np.array([_crossing(doses, one) for one in times @ table / count])
            low, high = np.quantile(draws, [0.025, 0.975], method="nearest")
            ends = [value if np.isfinite(value) else np.nan for value in (_crossing(doses, table.mean(0)), low, high)]
            rows.append({"point": name, "dose": ends[0], "low": ends[1], "high": ends[2], "n": count})
        return pd.DataFrame(rows)

    def facts(self) -> dict[str, Any]:
        """The summary for machines."""
        points = {
            row["point"]: {"value": row["dose"], "low": row["low"], "high": row["high"], "n": row["n"]}
            for row in self.points().to_dict("records")
        }
        return {"points": points, "shares": self.frame().to_dict("records")}

    def plot(self) -> alt.TopLevelMixin:
        """Share of each regime against dose."""
        from emovec_sae.charts import draw

        table = self.frame().rename(columns={"regime": "series", "dose": "x", "share": "value"}).assign(null=np.nan)
        return draw("curves", table, x_title="dose", y_title="share of texts", title="Where the model breaks down")

    def save(self, path: str | Path) -> Path:
        """Write the texts as Parquet, with shares, points and provenance as JSON beside it."""
        path = Path(path)
        with atomic(path) as part:
            self.cells.to_parquet(part, index=False)
        write_json(path.with_suffix(".json"), {**self.facts(), "provenance": self.provenance})
        return path

    def _is(self, regime: str) -> pd.Series:
        return self.cells["regime"] == regime


def breakdown(
    model: Model,
    prompts: Sequence[str],
    edits: Mapping[str, Dosed],
    doses: Sequence[float],
    *,
    unit: float = 1.0,
    max_new_tokens: int = 40,
    chat: bool | None = None,
    batch: int = 24,
    progress: Callable[[int, int], None] | None = None,
) -> Breakdown:
    """Generate under edits at growing doses, greedily, and tell clean, repetitive and collapsed texts apart.

    A text is *collapsed* if the unedited model finds it `SURPRISE` nats a token less likely than its own answers to
    these prompts (their mean), or if it is empty; else *repetitive* if `REPEATED` of its windows of 4 tokens stood in
    it before; else *clean*. Small models repeat themselves without any edit: dose 0 is always tried, and shown.

    Parameters
    ----------
    model
        The model.
    prompts
        Texts to answer.
    edits
        Name -> an edit with a dose, all at one site and the same positions.
    doses
        Doses, in multiples of `unit`.
    unit
        What a dose of 1 is: the site's residual norm makes doses strengths.
    max_new_tokens
        Length of an answer.
    chat
        Write the prompts in the chat template; None does so if the model has one.
    batch
        Texts that are generated at once.
    progress
        Called with (doses done, doses in all).

    Raises
    ------
    ConfigError
        If there is nothing to try, or the edits act at several places.
    """
    if not (prompts and edits and len(doses)):
        raise ConfigError(f"{len(prompts)} prompts, {len(edits)} edits, {len(doses)} doses: at least 1 of each is due")
    site, positions = _place(edits)
    use_chat = model.tokens.chat if chat is None else chat
    ids, named = locate(model.tokens, prompts, [positions], chat=use_chat)
    cells = [(name, row) for name in edits for row in range(len(ids))]
    tried = sorted({0.0, *map(float, doses)})
    found: list[pd.DataFrame] = []
    for done, dose in enumerate(tried, start=1):
        for start in range(0, len(cells), batch):
            some = cells[start : start + batch]
            own = [None if dose == 0.0 else edits[name].at(dose * unit) for name, _ in some]
            names, rows = [name for name, _ in some], [row for _, row in some]
            marks = {key: [every[row] for row in rows] for key, every in named.items()}
            texts = _texts(model, [ids[row] for row in rows], ByRow(own, site, positions), marks, max_new_tokens)
            found.append(texts.assign(edit=names, dose=dose, prompt=rows))
        if progress is not None:
            progress(done, len(tried))
    table, usual = _regimes(pd.concat(found, ignore_index=True))
    facts = {"model": model.describe(), "site": str(site), "positions": positions, "edits": list(edits), "unit": unit}
    limits = {"repeated": REPEATED, "surprise": SURPRISE, "usual_surprise": usual, "max_new_tokens": max_new_tokens}
    return Breakdown(table, collect(**facts, **limits, prompts=list(prompts), doses=tried))


def _place(edits: Mapping[str, Dosed]) -> tuple[Site, str]:
    places = {(edit.site, edit.positions) for edit in edits.values()}
    if len(places) != 1:
        raise ConfigError(f"the edits act at {len(places)} places; a break-down is that of one site and positions")
    return places.pop()


def _texts(
    model: Model, ids: list[list[int]], edit: ByRow, named: Mapping[str, Sequence[np.ndarray]], length: int
) -> pd.DataFrame:
    """One greedy answer a prompt, with its numbers."""
    answers = generate_ids(model, ids, edits=[edit], max_new_tokens=length, named=named).tolist()
    cut = [model.tokens.unpadded(one) for one in answers]
    numbers = {"tokens": [len(one) for one in cut], "repeated": [repeated(one) for one in cut]}
    return pd.DataFrame(
        {"text": [model.tokens.decode(one) for one in cut], **numbers, "surprise": surprise(model, ids, cut)}
    )


def _regimes(table: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """The regime of each text, and the mean surprise of the unedited ones that it is told by."""
    usual = float(table.loc[table["dose"] == 0, "surprise"].mean())
    regime = tell_regimes(table["surprise"], table["repeated"], usual=usual)
    order = ["edit", "dose", "prompt", "text", "tokens", "repeated", "surprise", "regime"]
    return table.assign(regime=regime)[order], usual


def _crossing(doses: np.ndarray, lost: np.ndarray) -> float:
    """First dose at which half is lost, on the line between those tried; infinite if it never is."""
    over = np.flatnonzero(lost >= 0.5)
    if not len(over):
        return float("inf")
    at = int(over[0])
    if at == 0:
        return float(doses[0])
    share = (0.5 - lost[at - 1]) / (lost[at] - lost[at - 1])
    return float(doses[at - 1] + share * (doses[at] - doses[at - 1]))
