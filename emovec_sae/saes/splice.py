"""Splice loss: how much worse the model predicts when an SAE's reconstruction stands in for the residual."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.errors import CorpusError, ModelError
from emovec_sae.models.seam import forward, run_prefix
from emovec_sae.models.tokens import pad
from emovec_sae.saes.sums import explained_variance, total_squares
from emovec_sae.stats import Interval, bootstrap_ratio

if TYPE_CHECKING:
    from torch import Tensor

    from emovec_sae.models.model import Model
    from emovec_sae.models.tokens import Batch
    from emovec_sae.saes.coder import SparseCoder
    from emovec_sae.sites import Site

ARMS = ("spliced", "mean ablation", "zero ablation")
"""What stands in for the residual: the reconstruction, the mean of the recorded tokens, nothing."""

_ROWS, _POSITIONS, _LONGEST = 4, 64, 256


@dataclass(frozen=True, eq=False)
class Splice:
    """What replacing the residual of a site does to next-token prediction, teacher-forced.

    Attributes
    ----------
    kl
        Arm -> mean KL(base || replaced) in nats, interval over texts.
    ce
        Arm, and ``base`` -> mean cross entropy of the text's own next token in nats, interval over texts.
    ce_recovered
        (CE mean ablation - CE spliced) / (CE mean ablation - CE base); interval over texts, NaN where mean ablation
        does not clearly raise the cross entropy.
    kl_recovered
        1 - KL spliced / KL mean ablation; interval over texts.
    with_first
        Explained variance on these texts when position 0 is among the tokens.
    without_first
        The same without it.
    n_texts, n_tokens
        Texts, and positions that were scored.
    replaced
        Tokens at which the residual was replaced: all but position 0, special tokens and sinks.
    """

    kl: Mapping[str, Interval]
    ce: Mapping[str, Interval]
    ce_recovered: Interval
    kl_recovered: Interval
    with_first: Interval
    without_first: Interval
    n_texts: int
    n_tokens: int
    replaced: int

    def frame(self) -> pd.DataFrame:
        """One row a metric: metric, value, low, high, n (scored positions; measured tokens for the last two)."""
        named = {f"kl {arm}": found for arm, found in self.kl.items()}
        named |= {f"ce {arm}": found for arm, found in self.ce.items()} | {"ce recovered": self.ce_recovered}
        named |= {"kl recovered": self.kl_recovered}
        named |= {"explained_variance position 0 in": self.with_first}
        named |= {"explained_variance same texts": self.without_first}
        rows = [(name, one.value, one.low, one.high, one.n) for name, one in named.items()]
        return pd.DataFrame(rows, columns=["metric", "value", "low", "high", "n"])

    def facts(self) -> dict[str, Any]:
        """JSON-serialisable facts."""
        return {
            "kl": {arm: found.as_dict() for arm, found in self.kl.items()},
            "ce": {arm: found.as_dict() for arm, found in self.ce.items()},
            "ce_recovered": self.ce_recovered.as_dict(),
            "kl_recovered": self.kl_recovered.as_dict(),
            "explained_variance_with_first": self.with_first.as_dict(),
            "explained_variance_same_texts": self.without_first.as_dict(),
            "n_texts": self.n_texts,
            "n_tokens": self.n_tokens,
            "replaced": self.replaced,
        }


def splice_loss(
    coder: SparseCoder, model: Model, texts: Sequence[str], *, mean: np.ndarray, limit: float, seed: int = 0
) -> Splice:
    """Measure the splice loss of an SAE on texts that it was not trained on.

    Parameters
    ----------
    coder
        The SAE.
    model
        The model whose activations it reads.
    texts
        Plain texts; of each the first 256 tokens are read.
    mean
        Mean residual of the site, shape (d,), for mean ablation.
    limit
        Norm beyond which a token is a sink, which is left as it is in every arm.
    seed
        Of the intervals.

    Raises
    ------
    MismatchError
        If the model is not the SAE's.
    ModelError
        If the model's weights are elsewhere.
    CorpusError
        If no text has three tokens.
    """
    coder.require(site=coder.site, d_model=model.d_model, model=model.describe())
    ids = [one[: min(_LONGEST, model.context)] for one in model.tokens.encode(list(texts))]
    ids = [one for one in ids if model.tokens.counted(one)[:-1].any()]
    if not ids:
        raise CorpusError("no text is long enough for the splice loss: two tokens after the first are needed")
    work = _Work(coder, model, coder.site, mean, limit)
    sums = [row for at in range(0, len(ids), _ROWS) for row in _batch_sums(work, ids[at : at + _ROWS])]
    table = {name: np.array([row[name] for row in sums]) for name in sums[0]}
    scored, replaced = table["scored"], int(table["replaced"].sum())

    def _ratio(top: np.ndarray, bottom: np.ndarray) -> Interval:
        return replace(bootstrap_ratio(top, bottom, seed=seed), n=int(scored.sum()))

    def _mean(top: np.ndarray) -> Interval:
        return replace(_ratio(top, scored), value=float(top.sum() / scored.sum()))  # one text has no interval

    worst = table["ce mean ablation"]
    return Splice(
        kl={arm: _mean(table[f"kl {arm}"]) for arm in ARMS},
        ce={arm: _mean(table[f"ce {arm}"]) for arm in ("base", *ARMS)},
        ce_recovered=_ratio(worst - table["ce spliced"], worst - table["ce base"]),
        kl_recovered=_ratio(table["kl mean ablation"] - table["kl spliced"], table["kl mean ablation"]),
        with_first=_explained(table, "all", seed),
        without_first=_explained(table, "kept", seed),
        n_texts=len(ids),
        n_tokens=int(scored.sum()),
        replaced=replaced,
    )


@dataclass(frozen=True, eq=False)
class _Work:
    coder: SparseCoder
    model: Model
    site: Site
    mean: np.ndarray
    limit: float


@dataclass(frozen=True, eq=False)
class _Replace:
    """Put something else in place of the residual at chosen tokens."""

    site: Site
    where: Tensor
    fill: Callable[[Tensor], Tensor]
    positions: str = "all"

    def __call__(self, hidden: Tensor, mask: Tensor) -> Tensor:
        chosen = self.where & mask
        found = hidden.clone()
        found[chosen] = self.fill(hidden[chosen].float()).to(hidden)
        return found


def _batch_sums(work: _Work, ids: Sequence[Sequence[int]]) -> Iterator[dict[str, Any]]:
    """Sums of each text of a batch: KL and cross entropy by arm, and what explained variances are made of."""
    import torch

    model, site = work.model, work.site
    batch = pad(ids, pad_id=model.tokens.pad_id, device=model.device)
    counted = torch.zeros_like(batch.mask)
    for row, one in enumerate(ids):
        counted[row, : len(one)] = torch.from_numpy(model.tokens.counted(one)).to(counted.device)
    prefix = run_prefix(model, batch, site)
    base = forward(model, batch, read=[site], prefix=prefix, final=True)
    hidden = base.values[site].float()
    kept = counted.to(hidden.device) & (hidden.norm(dim=-1) <= work.limit)
    mean = torch.from_numpy(work.mean).float()
    fills: dict[str, Callable[[Tensor], Tensor]] = {
        "spliced": lambda rows: work.coder.reconstruct(rows).to(rows.device),
        "mean ablation": lambda rows: mean.to(rows.device).expand_as(rows),
        "zero ablation": torch.zeros_like,
    }
    finals: dict[str, Tensor | None] = {"base": base.final}
    for arm in ARMS:
        edit = _Replace(site, kept, fills[arm])
        finals[arm] = forward(model, batch, edits=[edit], prefix=prefix, final=True).final
    for row, one in enumerate(ids):
        scored = torch.from_numpy(np.flatnonzero(model.tokens.counted(one)[:-1]))
        own = {arm: _states(final, row, scored) for arm, final in finals.items()}
        found = _losses(model, own, batch, row, scored)
        found |= _squares(work.coder, hidden[row, : len(one)], kept[row, : len(one)])
        yield found | {"scored": float(len(scored)), "replaced": int(kept[row].sum())}


def _states(final: Tensor | None, row: int, scored: Tensor) -> Tensor:
    if final is None:
        raise ModelError("the model gave no final state")
    return final[row, scored.to(final.device)]


def _losses(model: Model, own: Mapping[str, Tensor], batch: Batch, row: int, scored: Tensor) -> dict[str, Any]:
    """Sums over the scored positions of a text; the head runs on a few positions at a time."""
    import torch

    found = {f"ce {arm}": 0.0 for arm in ("base", *ARMS)} | {f"kl {arm}": 0.0 for arm in ARMS}
    for part in torch.arange(len(scored)).split(_POSITIONS):
        targets = batch.input_ids[row, (scored[part] + 1).to(batch.input_ids.device)]
        with torch.no_grad():
            base = model.head(own["base"][part]).log_softmax(dim=-1)
            found["ce base"] -= float(base.gather(1, targets[:, None].to(base.device)).sum())
            for arm in ARMS:
                other = model.head(own[arm][part]).log_softmax(dim=-1)
                found[f"ce {arm}"] -= float(other.gather(1, targets[:, None].to(other.device)).sum())
                found[f"kl {arm}"] += float((base.exp() * (base - other)).sum())
    return found


def _squares(coder: SparseCoder, hidden: Tensor, kept: Tensor) -> dict[str, Any]:
    """Sums for explained variances over the kept tokens, and over these and position 0."""
    import torch

    first = torch.zeros_like(kept)
    first[0] = True
    found: dict[str, Any] = {}
    for name, chosen in (("kept", kept), ("all", kept | first)):
        rows = hidden[chosen]
        error = coder.error(rows)
        found[f"{name} sse"] = float(error.double().square().sum())
        found[f"{name} squares"] = float(rows.double().square().sum())
        found[f"{name} vectors"] = rows.double().sum(0).cpu().numpy()
        found[f"{name} count"] = float(chosen.sum())
    return found


def _explained(table: Mapping[str, np.ndarray], name: str, seed: int) -> Interval:
    count = table[f"{name} count"]
    total = total_squares(table[f"{name} squares"], table[f"{name} vectors"], count)
    return explained_variance(table[f"{name} sse"], total, n_tokens=int(count.sum()), seed=seed)
