"""Logit lens: whether directions write their own words, more than their names' unembeddings and chance do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from emovec_sae.corpora.lexicon import contrast_words, load_lexicon
from emovec_sae.directions.checks.reading import OF_VECTORS, told
from emovec_sae.directions.checks.result import Check, number, numbers
from emovec_sae.directions.direction_set import DirectionSet
from emovec_sae.directions.readouts import unit_rows
from emovec_sae.errors import ConfigError
from emovec_sae.provenance import collect
from emovec_sae.stats import Interval, bootstrap_mean, permutation_p, proportion

if TYPE_CHECKING:
    import altair as alt

    from emovec_sae.models.model import Model

_DRAWS = 199


class Lens(Check):
    """Words that directions write; `table` has emotion, rank (of its name), top tokens, auroc, auroc_unembedding, n."""

    title: ClassVar[str] = "Do the directions write their own words?"

    def plot(self) -> alt.Chart | alt.LayerChart | alt.VConcatChart | alt.HConcatChart:
        """Draw how well each direction ranks its own words, beside the unembedding of its name."""
        from emovec_sae.charts import draw

        named = self.table.dropna(subset=["auroc"])
        if named.empty:  # no emotion has a word of its own: the numbers are all there is
            return draw("score_dots", self.numbers.assign(check="all emotions"), title=self.title)
        frame = pd.DataFrame(
            {
                "check": "AUROC of an emotion's own words (tick: unembedding of its name)",
                "number": named["emotion"], "value": named["auroc"], "low": np.nan, "high": np.nan,
                "null": named["auroc_unembedding"], "n": named["n"],
            }
        )  # fmt: skip
        return draw("score_dots", frame, title=self.title)


def check_lens(
    directions: DirectionSet,
    model: Model,
    *,
    lexicon: Mapping[str, Any] | None = None,
    top: int = 20,
    seed: int = 0,
) -> Lens:
    """Read directions off the unembedding, and compare with two baselines.

    Two questions. Does the first token of the emotion's name stand among the top tokens of its direction? And do the
    words of an emotion (other than its name) score higher on its direction than the words of the other emotions: the
    area under the ROC curve. The baseline of both is the unembedding itself: the row of the name, less the mean over
    emotions, taken as the direction. The null is random directions of the residual space.

    Parameters
    ----------
    directions
        Directions of any site.
    model
        The model that they come from.
    lexicon
        As `load_lexicon` gives it; None means the packaged one. Words of which the first token is shared with another
        emotion of the contrast are left out.
    top
        What counts as among the top tokens.
    seed
        Of the null and the intervals.

    Raises
    ------
    MismatchError
        If the directions come from another model.
    ConfigError
        If fewer than two emotions of the lexicon have directions.

    References
    ----------
    Sofroniew et al. 2026 (arXiv 2604.07729), section on the logit lens of the vectors.
    """
    directions.check_model({"name": model.name, "fingerprint": model.fingerprint})
    table = load_lexicon() if lexicon is None else dict(lexicon)
    emotions = [name for name in table if name in directions]
    if len(emotions) < 2:
        raise ConfigError(f"{len(emotions)} emotions of the lexicon have directions; at least two are needed")
    unembedding = model.unembedding().detach().float().cpu().numpy()
    names = {name: _first_tokens(model, [name]) for name in emotions}
    words = _own_tokens(model, contrast_words(table, use="held_out", emotions=emotions), names)
    units = directions.units[[directions.index(name) for name in emotions]]
    rows = np.stack([unembedding[names[name]].mean(axis=0) for name in emotions])
    base = unit_rows(rows - rows.mean(axis=0))
    mine, theirs = _aurocs(units, unembedding, words), _aurocs(base, unembedding, words)
    ranks = _ranks(units, unembedding, names)
    rng = np.random.default_rng(seed)
    null_rank, null_auroc = np.empty(_DRAWS), np.empty(_DRAWS)
    for draw in range(_DRAWS):
        random = unit_rows(rng.normal(size=units.shape)).astype(np.float32)
        null_auroc[draw] = np.nanmean(_aurocs(random, unembedding, words))
        null_rank[draw] = (_ranks(random, unembedding, names) <= top).mean()
    frame = pd.DataFrame(
        {
            "emotion": emotions, "rank": ranks, "top": _top(units, unembedding, model, 8), "auroc": mine,
            "auroc_unembedding": theirs, "n": [len(words[name]) for name in emotions],
        }
    )  # fmt: skip
    among, own, plain = proportion(ranks <= top), _mean(mine, seed), _mean(theirs, seed)
    note = f"name's first token; {_DRAWS} random directions"
    return Lens(
        numbers=numbers(
            [
                number(f"own name in the top {top} tokens", among.value, low=among.low, high=among.high, n=among.n,
                       null=float(null_rank.mean()), p=float(permutation_p(among.value, null_rank)), note=note),
                number("AUROC of own words", own.value, low=own.low, high=own.high, n=own.n,
                       null=float(null_auroc.mean()), p=float(permutation_p(own.value, null_auroc)),
                       note="held-out lexicon words, name excluded; interval over emotions"),
                number("AUROC of own words, unembedding of the name", plain.value, low=plain.low, high=plain.high,
                       n=plain.n, null=float(null_auroc.mean()), note="the baseline: no activations at all"),
            ]
        ),
        table=frame,
        settings=told(directions, **OF_VECTORS, top=top, vocabulary=len(unembedding), seed=seed),
        provenance=collect(directions=directions.fingerprint, seed=seed),
    )  # fmt: skip


def _mean(values: np.ndarray, seed: int) -> Interval:
    """Mean with its interval over emotions; NaN where no emotion has a word of its own."""
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return Interval(np.nan, np.nan, np.nan, 0, 0, 0.95, "none: the tokenizer gives no emotion a token of its own")
    return bootstrap_mean(known, seed=seed)


def _first_tokens(model: Model, words: Sequence[str]) -> list[int]:
    """First tokens of words after a space, as they are and capitalised."""
    forms = [form for word in words for form in (f" {word}", f" {word.capitalize()}")]
    return list(dict.fromkeys(ids[0] for ids in model.tokens.encode(forms, special=False)))


def _own_tokens(
    model: Model, words: Mapping[str, Sequence[str]], names: Mapping[str, Sequence[int]]
) -> dict[str, np.ndarray]:
    """First token of each word of an emotion that no other emotion shares and that does not begin its name."""
    found = {name: {_first_tokens(model, [word])[0] for word in those} for name, those in words.items()}
    every = [token for tokens in found.values() for token in tokens]
    shared = {token for token in every if every.count(token) > 1}
    return {name: np.array(sorted(tokens - shared - set(names[name])), dtype=int) for name, tokens in found.items()}


def _aurocs(units: np.ndarray, unembedding: np.ndarray, words: Mapping[str, np.ndarray]) -> np.ndarray:
    """AUROC of each emotion's own tokens against those of the others, shape (n,); NaN where it has none."""
    tokens = np.concatenate(list(words.values()))
    owner = np.repeat(np.arange(len(words)), [len(one) for one in words.values()])
    scores = units @ unembedding[tokens].T
    found = np.full(len(units), np.nan)
    for code in range(len(units)):
        own, other = scores[code, owner == code], scores[code, owner != code]
        if len(own) and len(other):
            found[code] = (own[:, None] > other).mean() + 0.5 * (own[:, None] == other).mean()
    return found


def _ranks(units: np.ndarray, unembedding: np.ndarray, names: Mapping[str, Sequence[int]]) -> np.ndarray:
    """Best rank of the name's tokens among the whole vocabulary, shape (n,)."""
    scores = units @ unembedding.T
    best = np.array([scores[code, list(tokens)].max() for code, tokens in enumerate(names.values())])
    return (scores > best[:, None]).sum(axis=1) + 1


def _top(units: np.ndarray, unembedding: np.ndarray, model: Model, k: int) -> list[str]:
    ids = np.argsort(-(units @ unembedding.T), axis=1)[:, :k]
    return [" ".join(text.strip() for text in model.token_strings([int(one) for one in row])) for row in ids]
