"""Sweep edits over doses and prompts: the blocks below the site run once a prompt, conditions share batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.errors import ConfigError, ModelError
from emovec_sae.interventions.edits import ByRow, Dosed
from emovec_sae.models.model import Model
from emovec_sae.models.positions import locate
from emovec_sae.models.seam import forward, run_prefix
from emovec_sae.models.tokens import pad
from emovec_sae.provenance import atomic, collect, write_json
from emovec_sae.sites import Site
from emovec_sae.stats.bootstrap import bootstrap_mean

if TYPE_CHECKING:
    import altair as alt
    from torch import Tensor

_TOKENS = 768
"""Tokens of a batch: about what a processor's caches hold; more gains nothing on two cores."""

Score = Callable[["Tensor"], Mapping[str, "Tensor"]]
"""Logits of the next token, (rows, vocabulary) float32 -> name -> (rows,)."""


@dataclass(frozen=True)
class Sweep:
    """What each condition does to the next token after each prompt.

    Attributes
    ----------
    cells
        One row a (prompt, edit, dose, score): prompt, edit, dose, score, value, base, change (value minus base).
    provenance
        Model, site, prompts, doses.
    """

    cells: pd.DataFrame
    provenance: dict[str, Any]

    def frame(self, *, seed: int = 0) -> pd.DataFrame:
        """Mean change over prompts: edit, dose, score, change, low, high (95 % over prompts), n."""
        rows: list[dict[str, Any]] = []
        for (edit, dose, score), some in self.cells.groupby(["edit", "dose", "score"], sort=False):
            mean = bootstrap_mean(some["change"].to_numpy(), seed=seed)
            ends = {"change": mean.value, "low": mean.low, "high": mean.high, "n": mean.n}
            rows.append({"edit": edit, "dose": dose, "score": score, **ends})
        return pd.DataFrame(rows)

    def plot(self, score: str | None = None) -> alt.TopLevelMixin:
        """Mean change against dose, a line an edit (six at most), of one score (by default the first)."""
        from emovec_sae.charts import draw

        name = str(self.cells["score"].iloc[0]) if score is None else score
        frame = self.frame().query("score == @name")
        if frame.empty:
            there = ", ".join(map(str, self.cells["score"].unique()))
            raise ConfigError(f"this sweep has no score '{name}'; there are {there}")
        table = frame.rename(columns={"edit": "series", "dose": "x", "change": "value"}).assign(null=np.nan)
        return draw(
            "curves", table, x_title="dose", y_title=f"change of {name}", title=f"{name} under each edit, by dose"
        )

    def save(self, path: str | Path) -> Path:
        """Write the cells as Parquet, with the provenance as JSON beside it."""
        path = Path(path)
        with atomic(path) as part:
            self.cells.to_parquet(part, index=False)
        write_json(path.with_suffix(".json"), {"provenance": self.provenance})
        return path


def sweep(
    model: Model,
    prompts: Sequence[str],
    edits: Mapping[str, Dosed],
    doses: Sequence[float],
    *,
    score: Score | Mapping[str, Sequence[str]],
    unit: float = 1.0,
    chat: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Sweep:
    """Score the next token after prompts under every edit at every dose.

    Parameters
    ----------
    model
        The model.
    prompts
        Texts.
    edits
        Name -> an edit with a dose, all at one site and the same positions: ``{"afraid": Steer(vectors["afraid"],
        strength=1)}``.
    doses
        Doses, in multiples of `unit`.
    score
        Name -> words, scored as the log-probability that one of their first tokens comes next; or a function of the
        logits, (rows, vocabulary), that gives name -> (rows,).
    unit
        What a dose of 1 is: the site's residual norm makes doses strengths.
    chat
        Write the prompts in the chat template.
    progress
        Called with (batches done, batches in all).

    Raises
    ------
    ConfigError
        If there is nothing to sweep, or the edits act at several places.
    """
    if not (prompts and edits and len(doses)):
        raise ConfigError(f"{len(prompts)} prompts, {len(edits)} edits, {len(doses)} doses: at least 1 of each is due")
    places = {(edit.site, edit.positions) for edit in edits.values()}
    if len(places) != 1:
        told = ", ".join(sorted(f"{site} at '{positions}'" for site, positions in places))
        raise ConfigError(f"the edits of a sweep act at one place, these at {told}")
    site, positions = places.pop()
    scored = word_score(model, score) if isinstance(score, Mapping) else score
    conditions = [(name, float(dose), edit.at(dose * unit)) for name, edit in edits.items() for dose in doses]
    ids, named = locate(model.tokens, prompts, [positions], chat=chat)
    parts: list[pd.DataFrame] = []
    batches = list(_batches([len(one) for one in ids]))
    for done, rows in enumerate(batches, start=1):
        picked = {name: [marks[row] for row in rows] for name, marks in named.items()}
        batch = pad([ids[row] for row in rows], pad_id=model.tokens.pad_id, device=model.device, named=picked)
        parts += _run(model, run_prefix(model, batch, site), rows, conditions, positions=positions, score=scored)
        if progress is not None:
            progress(done, len(batches))
    facts = {"model": model.describe(), "site": str(site), "positions": positions, "edits": list(edits), "unit": unit}
    cells = pd.concat(parts).sort_values(["prompt", "edit", "dose"], kind="stable").reset_index(drop=True)
    return Sweep(cells, collect(**facts, doses=[float(one) for one in doses], prompts=list(prompts)))


def word_score(model: Model, words: Mapping[str, Sequence[str]]) -> Score:
    """Log-probability that the next token begins one of the words of each name, as they stand after a space."""
    import torch

    first = {
        name: sorted({ids[0] for ids in model.tokens.encode([f" {word}" for word in some], special=False)})
        for name, some in words.items()
    }

    def _score(logits: Tensor) -> dict[str, Tensor]:
        total = logits.logsumexp(dim=-1)
        return {name: torch.logsumexp(logits[:, tokens], dim=-1) - total for name, tokens in first.items()}

    return _score


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Prompts of one length together, so that no row is padded and a batch holds many conditions."""
    order = np.argsort(lengths, kind="stable").tolist()
    part: list[int] = []
    for row in order:
        if part and lengths[part[0]] != lengths[row]:
            yield part
            part = []
        part.append(row)
    yield part


def _run(
    model: Model,
    prefix: Any,
    prompts: Sequence[int],
    conditions: Sequence[tuple[str, float, Dosed]],
    *,
    positions: str,
    score: Score,
) -> Iterator[pd.DataFrame]:
    """Every condition on prompts of one length, a row each (prompt, condition)."""
    import torch

    site: Site = conditions[0][2].site
    step = max(2, _TOKENS // int(prefix.batch.input_ids.shape[1])) - 1
    cells = [(row, condition) for row in range(len(prompts)) for condition in conditions]
    for start in range(0, len(cells), step):
        some = cells[start : start + step]
        rows = [row for row, _ in some]
        plain = sorted(set(rows))  # unedited in the same batch: rounding may depend on the size of a batch
        here = prefix.rows([*plain, *rows])
        together = ByRow([*([None] * len(plain)), *(edit for _, (_, _, edit) in some)], site, positions)
        final = forward(model, here.batch, edits=[together], prefix=here, final=True).final
        if final is None:
            raise ModelError("the model gave no final state")
        with torch.no_grad():
            found = score(model.head(final[:, -1]))
        for name, tensor in found.items():
            values = tensor.double().cpu().numpy()
            base = values[[plain.index(row) for row in rows]]
            yield pd.DataFrame(
                {
                    "prompt": [prompts[row] for row in rows],
                    "edit": [edit for _, (edit, _, _) in some],
                    "dose": [dose for _, (_, dose, _) in some],
                    "score": name,
                    "value": values[len(plain) :],
                    "base": base,
                    "change": values[len(plain) :] - base,
                }
            )
