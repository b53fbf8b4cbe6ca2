"""Log-probability of whole words after a prompt: the tokens of many words share one tree of continuations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from emovec_sae.errors import ModelError
from emovec_sae.models.model import Model
from emovec_sae.models.positions import marked
from emovec_sae.models.seam import Edit, Prefix, forward, run_prefix
from emovec_sae.models.tokens import Batch
from emovec_sae.sites import Site

if TYPE_CHECKING:
    from torch import Tensor

AFTER_FIRST = "from:1"
"""Positions of an edit that spares the first token, which is a sink that no SAE was trained on."""
_ROWS = 6
"""Prompts of a batch: about 600 tokens with the packaged lexicon, the best size for a CPU's caches."""
_HEAD_ROWS = 128
"""States that go through the head at a time: a row of logits may have 262k entries."""


@dataclass(frozen=True)
class WordTree:
    """The tokens of words, with shared beginnings merged.

    Attributes
    ----------
    words
        The words, each scored as it stands after a space.
    pieces
        Token ids of each word.
    nodes
        Proper beginnings of words of several tokens; each becomes one extra token behind the prompt.
    """

    words: tuple[str, ...]
    pieces: tuple[tuple[int, ...], ...]
    nodes: tuple[tuple[int, ...], ...]

    @classmethod
    def grow(cls, model: Model, words: Sequence[str]) -> WordTree:
        """Tokenise words and merge their beginnings."""
        ids = model.tokens.encode([f" {word}" for word in words], special=False)
        pieces = tuple(tuple(one) for one in ids)
        nodes = {piece[:size] for piece in pieces for size in range(1, len(piece))}
        return cls(tuple(words), pieces, tuple(sorted(nodes)))

    def batch(self, model: Model, prompts: Sequence[Sequence[int]]) -> Batch:
        """Prompts with the tree behind each: every node sees its prompt and its own beginning only."""
        import torch

        place = {node: index for index, node in enumerate(self.nodes)}
        longest = max(map(len, prompts)) + len(self.nodes)
        ids = torch.full((len(prompts), longest), model.tokens.pad_id, dtype=torch.long)
        positions = torch.zeros_like(ids)
        sees = torch.zeros((len(prompts), longest, longest), dtype=torch.bool)
        below = torch.zeros((len(self.nodes), len(self.nodes)), dtype=torch.bool)
        for node, index in place.items():
            for size in range(1, len(node) + 1):
                below[index, place[node[:size]]] = True
        for row, prompt in enumerate(prompts):
            start, end = len(prompt), len(prompt) + len(self.nodes)
            ids[row, :end] = torch.tensor([*prompt, *(node[-1] for node in self.nodes)])
            positions[row, :end] = torch.tensor([*range(start), *(start + len(node) - 1 for node in self.nodes)])
            sees[row, :start, :start] = torch.ones(start, start, dtype=torch.bool).tril()
            sees[row, start:end, :start] = True
            sees[row, start:end, start:end] = below
            sees[row, range(end, longest), range(end, longest)] = True  # a padded row must see something
        mask = torch.zeros_like(ids, dtype=torch.bool)
        for row, prompt in enumerate(prompts):
            mask[row, : len(prompt) + len(self.nodes)] = True
        dtype = next(model.module.parameters()).dtype
        additive = torch.zeros(sees.shape, dtype=dtype).masked_fill(~sees, torch.finfo(dtype).min)
        ids, mask, positions, additive = (one.to(model.device) for one in (ids, mask, positions, additive[:, None]))
        new = mask.clone()
        for row, prompt in enumerate(prompts):
            new[row, : len(prompt)] = False
        return Batch(ids, mask, positions, additive, new=new)


class WordScorer:
    """Score words after fixed prompts, with any edits; the blocks below the edited site run once per prompt.

    Parameters
    ----------
    model
        The model.
    prompts
        Texts after which a word is due.
    words
        Words to score.
    site
        Edits will act at this site or above it.

    Raises
    ------
    ModelError
        If the model's attention does not take the tree of continuations (checked against plain rows).
    """

    def __init__(self, model: Model, prompts: Sequence[str], words: Sequence[str], *, site: Site) -> None:
        self.model = model
        self.tree = WordTree.grow(model, words)
        self._texts = list(prompts)
        self.prompts = [tuple(ids) for ids in model.tokens.encode(prompts)]
        self._check()
        self._parts: list[tuple[Prefix, list[int]]] = []
        for first in range(0, len(self.prompts), _ROWS):
            some = self.prompts[first : first + _ROWS]
            self._parts.append((run_prefix(model, self.tree.batch(model, some), site), [len(one) for one in some]))

    def log_probs(self, edits: Sequence[Edit] = ()) -> np.ndarray:
        """Natural log-probability of each whole word after each prompt, (prompts, words) float64.

        The words behind a prompt count as generated tokens.

        Raises
        ------
        ConfigError
            If an edit acts on a role: these prompts are plain texts.
        CorpusError
            If an edit acts on a span that a prompt does not have.
        """
        found = []
        for part, (plain, lengths) in enumerate(self._parts):
            texts = self._texts[part * _ROWS : (part + 1) * _ROWS]
            batch = marked(plain.batch, self.model.tokens, texts, [edit.positions for edit in edits])
            prefix = replace(plain, batch=batch)
            final = forward(self.model, prefix.batch, edits=edits, prefix=prefix, final=True).final
            if final is None:
                raise ModelError("the model gave no final state")
            found.append(self._scores(final, lengths))
        return np.concatenate(found)

    def _scores(self, final: Tensor, lengths: Sequence[int]) -> np.ndarray:
        """Scores of all words, (rows, words), from each row's states: the prompt's last token, then the nodes."""
        import torch

        size = 1 + len(self.tree.nodes)
        states = torch.cat([final[row, length - 1 : length - 1 + size] for row, length in enumerate(lengths)])
        place = {(): 0, **{node: index + 1 for index, node in enumerate(self.tree.nodes)}}
        wanted = [(place[piece[:cut]], piece[cut]) for piece in self.tree.pieces for cut in range(len(piece))]
        ends = np.cumsum([len(piece) for piece in self.tree.pieces])
        first = torch.arange(len(lengths), device=states.device)[:, None] * size
        rows = (first + torch.tensor([row for row, _ in wanted], device=states.device)).flatten()
        tokens = torch.tensor([token for _, token in wanted], device=states.device).repeat(len(lengths))
        scores = torch.empty(len(rows), device=states.device)
        with torch.no_grad():
            for start in range(0, len(states), _HEAD_ROWS):
                logits = self.model.head(states[start : start + _HEAD_ROWS])
                here = (rows >= start) & (rows < start + _HEAD_ROWS)
                chosen = logits[rows[here] - start, tokens[here]]
                top = logits.amax(dim=-1, keepdim=True)  # in place: another table of the vocabulary costs as much again
                total = logits.sub_(top).exp_().sum(dim=-1).log_() + top[:, 0]
                scores[here] = chosen - total[rows[here] - start]
        table = scores.view(len(lengths), -1).double().cpu().numpy()
        return np.add.reduceat(table, np.concatenate([[0], ends[:-1]]), axis=1)

    def _check(self) -> None:
        """Compare the tree with plain rows on the longest word, which a wrong mask or position would betray."""
        import torch

        longest = max(range(len(self.tree.words)), key=lambda index: len(self.tree.pieces[index]))
        piece, prompt = self.tree.pieces[longest], self.prompts[0]
        if len(piece) == 1:
            return
        final = forward(self.model, self.tree.batch(self.model, [prompt]), final=True).final
        ids = torch.tensor([[*prompt, *piece]], device=self.model.device)
        plain = forward(self.model, Batch(ids, torch.ones_like(ids, dtype=torch.bool)), final=True).final
        if final is None or plain is None:
            raise ModelError("the model gave no final state")
        node = len(prompt) + self.tree.nodes.index(piece[:-1])
        got, right = final[0, node].float(), plain[0, len(prompt) + len(piece) - 2].float()
        if torch.nn.functional.cosine_similarity(got, right, dim=0) < 0.99:
            raise ModelError(
                f"'{self.model.name}' does not take a tree of continuations (its attention ignores a mask of its own), "
                "so words of several tokens cannot be scored on it"
            )


def log_odds(log_probs: np.ndarray, words: Sequence[str], lexicon: dict[str, list[str]]) -> np.ndarray:
    """Log-odds of each emotion's words against the words of all the other emotions.

    Parameters
    ----------
    log_probs
        (prompts, words), from `WordScorer.log_probs`.
    words
        The words, in that order.
    lexicon
        Emotion -> its words, none of them shared between emotions.

    Returns
    -------
    numpy.ndarray
        (prompts, emotions), in nats: log of the summed probability of the own words minus that of the others'.
    """
    from scipy.special import logsumexp

    place = {word: index for index, word in enumerate(words)}
    own = np.stack(
        [logsumexp(log_probs[:, [place[word] for word in some]], axis=1) for some in lexicon.values()], axis=1
    )
    found = np.empty_like(own)
    for index in range(own.shape[1]):
        found[:, index] = own[:, index] - logsumexp(np.delete(own, index, axis=1), axis=1)
    return found
